// SPDX-License-Identifier: Apache-2.0

package jsonpb

import (
	"errors"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/structpb" // what flow extensions hold
)

var errNoEvent = errors.New("the line holds no flow, lost_events or node_status: is it a GetFlowsResponse, as hubble observe -o jsonpb prints it?")

// Parse reads a line. It returns nil for one that is sound but no event: the
// status of nodes, which relays put between flows.
func Parse(line []byte) (*observer.GetFlowsResponse, error) {
	resp := &observer.GetFlowsResponse{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true, Resolver: anyType{protoregistry.GlobalTypes}}).Unmarshal(line, resp); err != nil {
		return nil, err
	}
	switch resp.GetResponseTypes().(type) {
	case *observer.GetFlowsResponse_Flow, *observer.GetFlowsResponse_LostEvents:
		return resp, nil
	case *observer.GetFlowsResponse_NodeStatus:
		return nil, nil
	}
	return nil, errNoEvent
}

// anyType finds a type for every google.protobuf.Any, so that an extension
// of unknown type does not make a flow unreadable; its content is left out.
type anyType struct{ *protoregistry.Types }

// FindMessageByURL implements the part of protojson's resolver that matters.
func (t anyType) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if known, err := t.Types.FindMessageByURL(url); err == nil {
		return known, nil
	}
	return (&emptypb.Empty{}).ProtoReflect().Type(), nil
}
