// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"bytes"
	"slices"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble/jsonpb"
)

// LineDecoder reads flows from JSON lines, as hubble observe -o jsonpb prints
// them, instead of from a server: what it makes of a line is what a Client makes
// of it that asks a server which has it. It belongs to one goroutine.
type LineDecoder struct {
	// Keep tells which responses are the node's own; nil: all. It may look only
	// at what a Reader reads, and not keep them.
	Keep func(*observer.GetFlowsResponse) bool

	reader jsonpb.Reader
	peers  *peerCache
	ends   [2]endpoint
}

// NewLineDecoder returns one.
func NewLineDecoder() *LineDecoder { return &LineDecoder{peers: newPeerCache(maxPeers)} }

// Decode reads a line. ok is false, without an error, for what makes no event.
// A loss has the time 0 if the line has none. An error means that the line is no
// GetFlowsResponse.
func (d *LineDecoder) Decode(line []byte, ev *correlator.Event) (ok bool, err error) {
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return false, nil
	}
	resp, fast := d.reader.Flow(line)
	if !fast {
		if resp, err = jsonpb.Parse(line); err != nil || resp == nil {
			return false, err
		}
	}
	if d.Keep != nil && !d.Keep(resp) {
		return false, nil
	}
	f := resp.GetFlow()
	if f != nil && !asked(f) {
		return false, nil
	}
	r := recordOfResponse(resp)
	ok, err = r.event(ev)
	if err != nil { // a flow that a client cannot use is one that is missing
		*ev = correlator.Event{Kind: correlator.KindLoss, Loss: correlator.Loss{From: correlator.LossHubbleDecode, Count: 1}}
		if ev.Time, ok = r.flow.time.unix(); !ok {
			ev.Time, _ = r.outer.unix()
		}
		ev.Loss.First, ev.Loss.Last = ev.Time, ev.Time
		return true, nil
	}
	if ok && f != nil {
		ev.Flow.Src = d.peer(&d.ends[0], f.GetSource(), f.GetSourceNames())
		ev.Flow.Dst = d.peer(&d.ends[1], f.GetDestination(), f.GetDestinationNames())
	}
	return ok, nil
}

// peer interns one by what its encoding would be.
func (d *LineDecoder) peer(e *endpoint, ep *flow.Endpoint, names []string) *correlator.Peer {
	e.reset()
	b := e.merged[:0]
	if ep.GetIdentity() != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(ep.Identity))
	}
	text := func(b []byte, number protowire.Number, s string) []byte {
		if s == "" {
			return b
		}
		return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
	}
	b = text(b, 3, ep.GetNamespace())
	for _, l := range ep.GetLabels() {
		b = protowire.AppendString(protowire.AppendTag(b, 4, protowire.BytesType), l)
	}
	b = text(b, 5, ep.GetPodName())
	if w := ep.GetWorkloads(); len(w) > 0 { // only the first is looked at
		var first [128]byte
		m := text(text(first[:0], 1, w[0].GetName()), 2, w[0].GetKind())
		b = protowire.AppendBytes(protowire.AppendTag(b, 6, protowire.BytesType), m)
	}
	e.merged, e.raw = b, b
	for _, n := range names {
		e.addName(n)
	}
	p, _ := d.peers.get(e) // it is well-formed
	return p
}

// isReply takes the reason's word in a file that lacks is_reply.
func isReply(f *flow.Flow) bool {
	if f.GetIsReply() == nil {
		return f.GetTraceReason() == flow.TraceReason_REPLY
	}
	return f.GetIsReply().GetValue()
}

// isOutside takes anybody for outside whom a file says nothing of but, at most,
// a number.
func isOutside(e *flow.Endpoint) bool {
	if len(e.GetLabels()) == 0 {
		return e.GetNamespace() == ""
	}
	return slices.ContainsFunc(outside, func(l string) bool { return slices.Contains(e.GetLabels(), l) })
}

// asked reports whether a server sends a flow to a Client: what request asks for.
func asked(f *flow.Flow) bool {
	switch f.GetL4().GetProtocol().(type) {
	case *flow.Layer4_TCP, *flow.Layer4_UDP, *flow.Layer4_SCTP:
	default:
		return false
	}
	switch f.GetEventType().GetType() {
	case eventTrace:
		switch f.GetEventType().GetSubType() {
		case traceToEndpoint, traceToStack, traceToNetwork:
			return true
		case traceToOverlay:
			return isReply(f) && isOutside(f.GetSource())
		}
	case eventDrop:
		reason := f.GetDropReasonDesc()
		return f.GetVerdict() == flow.Verdict_DROPPED &&
			(slices.Contains(dropReasons, reason) || slices.Contains(denials, reason) && f.GetL4().GetTCP().GetFlags().GetACK())
	}
	return false
}
