// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// sample has something for every filter.
func sample() *flow.Flow {
	return &flow.Flow{
		Uuid: "u", Verdict: flow.Verdict_DROPPED, DropReasonDesc: flow.DropReason_SNAT_NO_MAP_FOUND,
		IP: &flow.IP{Source: "10.0.1.10", SourceXlated: "192.0.2.9", Destination: "2001:db8::1", IpVersion: flow.IPVersion_IPv4},
		L4: &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: &flow.TCP{
			SourcePort: 40000, DestinationPort: 443, Flags: &flow.TCPFlags{SYN: true, ACK: true},
		}}},
		Source:      &flow.Endpoint{Identity: 1234, Namespace: "shop", PodName: "cart-1", Labels: []string{"k8s:app=cart", "reserved:host"}},
		Destination: &flow.Endpoint{Identity: 2, Namespace: "default", PodName: "db-0"},
		EventType:   &flow.CiliumEventType{Type: 1, SubType: 191}, IsReply: wrapperspb.Bool(false),
		PolicyLog: []string{"not asked for"},
	}
}

func TestFilterFields(t *testing.T) {
	for _, c := range []struct {
		name    string
		yes, no *flow.FlowFilter
	}{
		{"uuid", &flow.FlowFilter{Uuid: []string{"x", "u"}}, &flow.FlowFilter{Uuid: []string{"x"}}},
		{"verdict", &flow.FlowFilter{Verdict: []flow.Verdict{2}}, &flow.FlowFilter{Verdict: []flow.Verdict{1}}},
		{"drop reason", &flow.FlowFilter{DropReasonDesc: []flow.DropReason{191}}, &flow.FlowFilter{DropReasonDesc: []flow.DropReason{167}}},
		{"address", &flow.FlowFilter{SourceIp: []string{"10.0.1.10"}}, &flow.FlowFilter{SourceIp: []string{"10.0.1.1"}}},
		{"network", &flow.FlowFilter{SourceIp: []string{"10.0.0.0/8"}}, &flow.FlowFilter{SourceIp: []string{"11.0.0.0/8"}}},
		{"destination", &flow.FlowFilter{DestinationIp: []string{"2001:DB8::/32"}}, &flow.FlowFilter{DestinationIp: []string{"10.0.0.0/8"}}},
		{"translated", &flow.FlowFilter{SourceIpXlated: []string{"192.0.2.9"}}, &flow.FlowFilter{SourceIpXlated: []string{"10.0.1.10"}}},
		{"pod", &flow.FlowFilter{SourcePod: []string{"shop/ca"}}, &flow.FlowFilter{SourcePod: []string{"shop/x", "other/"}}},
		{"any namespace", &flow.FlowFilter{SourcePod: []string{"/cart"}}, &flow.FlowFilter{SourcePod: []string{"cart"}}},
		{"namespace default", &flow.FlowFilter{DestinationPod: []string{"db"}}, &flow.FlowFilter{DestinationPod: []string{"shop/"}}},
		{"event type", &flow.FlowFilter{EventType: []*flow.EventTypeFilter{{Type: 1}}}, &flow.FlowFilter{EventType: []*flow.EventTypeFilter{{Type: 4}}}},
		{"sub-type", &flow.FlowFilter{EventType: []*flow.EventTypeFilter{{Type: 1, MatchSubType: true, SubType: 191}}},
			&flow.FlowFilter{EventType: []*flow.EventTypeFilter{{Type: 1, MatchSubType: true}}}},
		{"protocol", &flow.FlowFilter{Protocol: []string{"udp", "TCP"}}, &flow.FlowFilter{Protocol: []string{"sctp", "icmp"}}},
		{"label", &flow.FlowFilter{SourceLabel: []string{"k8s:app=x", "k8s:app=cart"}}, &flow.FlowFilter{SourceLabel: []string{"k8s:app"}}},
		{"source port", &flow.FlowFilter{SourcePort: []string{"40000"}}, &flow.FlowFilter{SourcePort: []string{"443"}}},
		{"destination port", &flow.FlowFilter{DestinationPort: []string{"443"}}, &flow.FlowFilter{DestinationPort: []string{"40000"}}},
		{"flags", &flow.FlowFilter{TcpFlags: []*flow.TCPFlags{{RST: true}, {SYN: true}}}, &flow.FlowFilter{TcpFlags: []*flow.TCPFlags{{SYN: true, RST: true}}}},
		{"reply", &flow.FlowFilter{Reply: []bool{false}}, &flow.FlowFilter{Reply: []bool{true}}},
		{"identity", &flow.FlowFilter{SourceIdentity: []uint32{1234}}, &flow.FlowFilter{DestinationIdentity: []uint32{1234}}},
		{"IP version", &flow.FlowFilter{IpVersion: []flow.IPVersion{1}}, &flow.FlowFilter{IpVersion: []flow.IPVersion{2}}},
		{"all fields must match", &flow.FlowFilter{Uuid: []string{"u"}, SourcePort: []string{"40000"}},
			&flow.FlowFilter{Uuid: []string{"u"}, SourcePort: []string{"1"}}},
	} {
		for want, ff := range map[bool]*flow.FlowFilter{true: c.yes, false: c.no} {
			m, err := newFilter([]*flow.FlowFilter{ff}, nil)
			if err != nil || m(sample()) != want {
				t.Errorf("%s: whitelist %v: error %v, want a match: %v", c.name, ff, err, want)
			}
			if m, err = newFilter(nil, []*flow.FlowFilter{ff}); err != nil || m(sample()) == want {
				t.Errorf("%s: blacklist %v: error %v, want a match: %v", c.name, ff, err, !want)
			}
		}
	}
}
