// SPDX-License-Identifier: Apache-2.0

package jsonpb

import (
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shape is what JSON a message may be: its fields by both of their names. A
// field that is not here is left to protojson.
type shape map[string]*field

type field struct {
	once  uint64 // the bit that is set once it was read; members of a oneof share theirs
	list  bool
	kind  kind
	names map[string]int32     // of an enum's values
	of    shape                // of a message
	take  func(*Reader, value) // nil: it is only checked
}

// value is what was read; which member depends on the field's kind. A message is
// taken before its fields are.
type value struct {
	text   string
	number int64 // 1 for true; of a time, the seconds since 1970
	nanos  int32 // of a time
}

type kind uint8

const (
	kindText kind = iota
	kindBool
	kindNumber32
	kindNumber64
	kindEnum
	kindTime
	kindMessage
)

// response is the shape of a GetFlowsResponse that holds a flow.
var response = func() shape {
	s := shaper{known: map[protoreflect.FullName]shape{}}
	all := s.shape((&observer.GetFlowsResponse{}).ProtoReflect().Descriptor(), "response")
	return shape{"flow": all["flow"], "node_name": all["node_name"], "nodeName": all["nodeName"], "time": all["time"]}
}()

// shaper makes shapes.
type shaper struct {
	known map[protoreflect.FullName]shape // of messages that nothing is taken of
}

// shape returns that of a message at a path, for takes.
func (s *shaper) shape(d protoreflect.MessageDescriptor, path string) shape {
	taken := path != "" && takes[path] != nil || path == "response"
	if !taken {
		if known := s.known[d.FullName()]; known != nil {
			return known
		}
		path = ""
	}
	m := shape{}
	if !taken {
		s.known[d.FullName()] = m // a message may hold its own kind
	}
	oneofs := map[protoreflect.Name]uint64{}
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		if i == 64 {
			panic(d.FullName() + " has too many fields")
		}
		f := &field{once: 1 << i, list: fd.IsList()}
		if path != "" {
			f.take = takes[path+"."+string(fd.Name())]
		}
		if o := fd.ContainingOneof(); o != nil {
			if oneofs[o.Name()] == 0 {
				oneofs[o.Name()] = f.once
			}
			f.once = oneofs[o.Name()]
		}
		if s.fill(f, fd, path) {
			m[fd.JSONName()], m[fd.TextName()] = f, f
		}
	}
	return m
}

// fill says of what kind a field is; not ok if protojson has to read it.
func (s *shaper) fill(f *field, fd protoreflect.FieldDescriptor, path string) (ok bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		f.kind = kindText
	case protoreflect.BoolKind:
		f.kind = kindBool
	case protoreflect.Uint32Kind, protoreflect.Int32Kind:
		f.kind = kindNumber32
	case protoreflect.Uint64Kind, protoreflect.Int64Kind:
		f.kind = kindNumber64
	case protoreflect.EnumKind:
		f.kind, f.names = kindEnum, map[string]int32{}
		for i := range fd.Enum().Values().Len() {
			v := fd.Enum().Values().Get(i)
			f.names[string(v.Name())] = int32(v.Number())
		}
	case protoreflect.MessageKind:
		switch name := fd.Message().FullName(); {
		case fd.IsMap():
			return false
		case name == "google.protobuf.Timestamp":
			f.kind = kindTime
		case name == "google.protobuf.BoolValue":
			f.kind = kindBool
		case name == "google.protobuf.Int32Value", name == "google.protobuf.UInt32Value":
			f.kind = kindNumber32
		case name.Parent() == "google.protobuf":
			return false
		default:
			f.kind = kindMessage
			at := ""
			if path != "" {
				at = path + "." + string(fd.Name())
			}
			f.of = s.shape(fd.Message(), at)
		}
	default:
		return false
	}
	return true
}
