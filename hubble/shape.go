// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shape knows which fields of a message type can make its content invalid:
// strings, sub-messages and packed numbers. It checks the fields that the
// decoder does not read, so that it rejects a message exactly when the
// generated decoder does. Servers that honour the field mask send few of them.
type shape struct {
	of     protoreflect.MessageDescriptor
	once   sync.Once
	fields map[uint64]fieldShape // by tag
}

type fieldShape struct {
	message *shape // of a sub-message, else nil
	packed  bool   // numbers of wire type number
	number  protowire.Type
}

// shapeOf describes a message type; its fields are looked at when first used.
func shapeOf(d protoreflect.MessageDescriptor) *shape { return &shape{of: d} }

func (s *shape) load() {
	s.fields = map[uint64]fieldShape{}
	for i := range s.of.Fields().Len() {
		fd := s.of.Fields().Get(i)
		var f fieldShape
		switch fd.Kind() {
		case protoreflect.StringKind:
		case protoreflect.MessageKind:
			f.message = shapeOf(fd.Message())
		case protoreflect.BytesKind, protoreflect.GroupKind:
			continue
		default:
			if !fd.IsList() {
				continue
			}
			f.packed, f.number = true, numberType(fd.Kind())
		}
		s.fields[tagOf(fd.Number(), protowire.BytesType)] = f
	}
}

func numberType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	}
	return protowire.VarintType
}

// validField reports whether the content of the field that c stands on is
// valid in a message of this shape.
func (s *shape) validField(c *cursor) bool {
	if protowire.Type(c.tag&7) != protowire.BytesType {
		return true
	}
	s.once.Do(s.load)
	f, known := s.fields[c.tag]
	switch {
	case !known:
		return true
	case f.message != nil:
		return f.message.valid(c.data)
	case f.packed:
		return validPacked(f.number, c.data)
	}
	return utf8.Valid(c.data)
}

func (s *shape) valid(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		if !s.validField(&c) {
			return false
		}
	}
	return !c.bad
}

func validPacked(number protowire.Type, b []byte) bool {
	for len(b) > 0 {
		n := protowire.ConsumeFieldValue(1, number, b)
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}
