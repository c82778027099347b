// SPDX-License-Identifier: Apache-2.0

package proxy

import "google.golang.org/protobuf/encoding/protowire"

// Numbers of observer.GetFlowsResponse's and flow.LostEvent's fields.
const (
	responseFlow = 1
	responseLost = 3
	lostCount    = 2
)

// count notes what a response is.
func (p *Proxy) count(response []byte) {
	if _, ok := find(response, responseFlow); ok {
		p.flows.Add(1)
		return
	}
	value, ok := find(response, responseLost)
	if !ok {
		return
	}
	if lost, n := protowire.ConsumeBytes(value); n >= 0 {
		if value, ok := find(lost, lostCount); ok {
			events, _ := protowire.ConsumeVarint(value)
			p.lost.Add(events)
		}
	}
}

// find returns where the value of a message's first field of that number
// begins.
func find(msg []byte, number protowire.Number) ([]byte, bool) {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return nil, false
		}
		if num == number {
			return msg[n:], true
		}
		m := protowire.ConsumeFieldValue(num, typ, msg[n:])
		if m < 0 {
			return nil, false
		}
		msg = msg[n+m:]
	}
	return nil, false
}
