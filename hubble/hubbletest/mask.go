// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"strings"

	"github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// mask is a field mask as a tree: fields by name, nil where the whole field
// is wanted.
type mask map[protoreflect.Name]mask

// newMask returns nil for a request without a mask.
func newMask(fm *fieldmaskpb.FieldMask) (mask, error) {
	if len(fm.GetPaths()) == 0 {
		return nil, nil
	}
	fm = proto.CloneOf(fm)
	if !fm.IsValid(&flow.Flow{}) {
		return nil, status.Error(codes.Unknown, "invalid fieldmask")
	}
	fm.Normalize()
	root := mask{}
	for _, path := range fm.GetPaths() {
		at := root
		for {
			name, rest, deeper := strings.Cut(path, ".")
			if !deeper {
				at[protoreflect.Name(name)] = nil
				break
			}
			if at[protoreflect.Name(name)] == nil {
				at[protoreflect.Name(name)] = mask{}
			}
			at, path = at[protoreflect.Name(name)], rest
		}
	}
	return root, nil
}

// copy makes dst what the mask leaves of src. A message of which only some
// fields are wanted is set even if src has none of them, as the real server
// sends it.
func (m mask) copy(dst, src protoreflect.Message) {
	fields := dst.Descriptor().Fields()
	for name, below := range m {
		fd := fields.ByName(name)
		switch {
		case !src.Has(fd) && (below == nil || fd.ContainingOneof() != nil):
			dst.Clear(fd)
		case below == nil:
			dst.Set(fd, src.Get(fd))
		default:
			below.copy(dst.Mutable(fd).Message(), src.Get(fd).Message())
		}
	}
}
