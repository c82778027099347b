// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"net/netip"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// Event types and the sub-types of trace events (Cilium pkg/monitor/api).
const (
	eventDrop  = 1
	eventTrace = 4

	traceToEndpoint = 0
	traceToStack    = 3
	traceToOverlay  = 4
	traceToNetwork  = 11
)

// dropReasons are those that NAT and connection tracking give: they explain a
// failure that is not an eviction.
var dropReasons = []flow.DropReason{
	flow.DropReason_CT_TRUNCATED_OR_INVALID_HEADER,
	flow.DropReason_CT_MISSING_TCP_ACK_FLAG,
	flow.DropReason_CT_UNKNOWN_L4_PROTOCOL,
	flow.DropReason_CT_MAP_INSERTION_FAILED,
	flow.DropReason_UNKNOWN_CONNECTION_TRACKING_STATE,
	flow.DropReason_NO_MAPPING_FOR_NAT_MASQUERADE,
	flow.DropReason_UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE,
	flow.DropReason_CT_NO_MAP_FOUND,
	flow.DropReason_SNAT_NO_MAP_FOUND,
}

// denials are the drop reasons of packets that connection tracking should have
// let through: policy asks of none that belongs to a connection.
var denials = []flow.DropReason{flow.DropReason_POLICY_DENIED, flow.DropReason_POLICY_DENY}

// maskPaths are the fields that the conversion reads. Without time the
// response's own would be blank. IP and l4 are asked for whole: older servers do
// not know every field inside them, and refuse a mask that names one.
var maskPaths = []string{
	"time", "uuid", "IP", "l4",
	"source.identity", "source.namespace", "source.pod_name", "source.workloads", "source.labels",
	"destination.identity", "destination.namespace", "destination.pod_name", "destination.workloads", "destination.labels",
	"source_names", "destination_names",
	"event_type.type", "trace_observation_point", "trace_reason", "drop_reason_desc",
}

// outside are the labels of what is no part of the cluster. On an egress gateway
// its answers go to pods on other nodes; those of other pods are many, and
// nothing that was translated.
var outside = []string{"reserved:world", "reserved:world-ipv4", "reserved:world-ipv6"}

// request returns what every subscription asks for; since and follow are the
// caller's to set. There is no filter on TCP flags, since plain ACKs prove
// that a connection was established, and none on the traffic direction, which
// is unreliable around SNAT.
func request(exclude []netip.Prefix, masked bool) *observer.GetFlowsRequest {
	protocols := []string{"tcp", "udp", "sctp"}
	var trace []*flow.EventTypeFilter
	for _, sub := range []int32{traceToEndpoint, traceToStack, traceToNetwork} {
		trace = append(trace, &flow.EventTypeFilter{Type: eventTrace, MatchSubType: true, SubType: sub})
	}
	req := &observer.GetFlowsRequest{Whitelist: []*flow.FlowFilter{
		{EventType: trace, Protocol: protocols},
		{
			EventType: []*flow.EventTypeFilter{{Type: eventTrace, MatchSubType: true, SubType: traceToOverlay}},
			Protocol:  protocols, Reply: []bool{true}, SourceLabel: outside,
		},
		{EventType: []*flow.EventTypeFilter{{Type: eventDrop}}, Protocol: protocols, DropReasonDesc: dropReasons},
		// Those of openings, which are many, have no ACK.
		{EventType: []*flow.EventTypeFilter{{Type: eventDrop}}, Protocol: []string{"tcp"}, DropReasonDesc: denials, TcpFlags: []*flow.TCPFlags{{ACK: true}}},
	}}
	if len(exclude) > 0 {
		var nets []string
		for _, p := range exclude {
			nets = append(nets, p.String())
		}
		req.Blacklist = []*flow.FlowFilter{{SourceIp: nets, DestinationIp: nets}}
	}
	if masked {
		req.FieldMask = &fieldmaskpb.FieldMask{Paths: maskPaths}
	}
	return req
}
