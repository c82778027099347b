// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"fmt"
	"hash/maphash"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/renat-project/renat/correlator"
)

// message is what one receive from a GetFlows stream fills.
type message struct {
	dec  *decoder
	ev   correlator.Event
	ok   bool
	err  error
	key  uint64                     // equal for repeats of the same flow or loss
	keep bool                       // resp is wanted
	resp *observer.GetFlowsResponse // nil if the message is not valid protobuf
}

// keySeed makes the keys of repeats. Two of a window's 2^14 flows share a key
// by chance about once in 10^11 windows.
var keySeed = maphash.MakeSeed()

// codec is the gRPC codec of GetFlows streams: requests are protobuf as ever,
// responses are decoded straight into a *message while gRPC's buffer lives.
type codec struct{}

// Name implements encoding.CodecV2; the server sees plain protobuf.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("encoding a request: %T is no protobuf message", v)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal implements encoding.CodecV2. A message that cannot be read is no
// error here, since that would end the stream, and the next one would begin
// with the same message: it is left in message.err.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("decoding a response: %T is no flow message", v)
	}
	if len(data) == 1 {
		m.decode(data[0].ReadOnlyData())
		return nil
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	m.decode(buf.ReadOnlyData())
	return nil
}

func (m *message) decode(b []byte) {
	m.ok, m.err = m.dec.decode(b, &m.ev)
	if uuid := m.dec.rec.flow.uuid; uuid != "" {
		m.key = maphash.String(keySeed, uuid)
	} else {
		m.key = maphash.Bytes(keySeed, b)
	}
	if m.keep {
		m.resp = &observer.GetFlowsResponse{}
		if proto.Unmarshal(b, m.resp) != nil { // m.err tells, too
			m.resp = nil
		}
	}
}
