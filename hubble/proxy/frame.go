// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// frame is a message that nobody decoded.
type frame struct{ data mem.BufferSlice }

// codec passes messages on in the memory they came in.
type codec struct{}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2. The frame's data goes over to gRPC.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("passing on a message: %T is no frame", v)
	}
	data := f.data
	f.data = nil
	return data, nil
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("passing on a message: %T is no frame", v)
	}
	data.Ref()
	f.data = data
	return nil
}

// bytes calls f with the frame's content as one slice.
func (f *frame) bytes(use func([]byte)) {
	if len(f.data) == 1 {
		use(f.data[0].ReadOnlyData())
		return
	}
	buf := f.data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	use(buf.ReadOnlyData())
}

// replace gives the frame another content.
func (f *frame) replace(content mem.Buffer) {
	f.data.Free()
	f.data = mem.BufferSlice{content}
}
