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

// mask is a field mask as a tree.
type mask []maskField

// maskField is one field; below is nil where the whole field is wanted.
type maskField struct {
	of    protoreflect.FieldDescriptor
	below mask
}

// newMask returns nil for a request without a mask.
func newMask(fm *fieldmaskpb.FieldMask) (mask, error) {
	if len(fm.GetPaths()) == 0 {
		return nil, nil
	}
	fm = proto.CloneOf(fm)
	if !fm.IsValid(&flow.Flow{}) {
		return nil, status.Error(codes.Unknown, "invalid fieldmask")
	}
	fm.Normalize() // sorts, and drops fields below others
	return maskOf((&flow.Flow{}).ProtoReflect().Descriptor(), fm.GetPaths()), nil
}

func maskOf(d protoreflect.MessageDescriptor, paths []string) (m mask) {
	for len(paths) > 0 {
		name, _, deeper := strings.Cut(paths[0], ".")
		f := maskField{of: d.Fields().ByName(protoreflect.Name(name))}
		n := 1
		if deeper {
			var below []string
			for n = 0; n < len(paths); n++ {
				rest, ok := strings.CutPrefix(paths[n], name+".")
				if !ok {
					break
				}
				below = append(below, rest)
			}
			f.below = maskOf(f.of.Message(), below)
		}
		m, paths = append(m, f), paths[n:]
	}
	return m
}

// copy makes dst what the mask leaves of src. A message of which only some
// fields are wanted is set even if src has none of them, as the real server
// sends it.
func (m mask) copy(dst, src protoreflect.Message) {
	for _, f := range m {
		switch {
		case f.below != nil && (src.Has(f.of) || f.of.ContainingOneof() == nil):
			f.below.copy(dst.Mutable(f.of).Message(), src.Get(f.of).Message())
		case f.below == nil && src.Has(f.of):
			dst.Set(f.of, src.Get(f.of))
		case dst.Has(f.of):
			dst.Clear(f.of)
		}
	}
}
