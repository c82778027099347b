// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble/hubbletest"
)

var (
	natMap   = &correlator.Map{Name: "cilium_snat_v4_external", ID: 7, MaxEntries: 512}
	ctMap    = &correlator.Map{Name: "cilium_ct4_global", ID: 8, MaxEntries: 512, CT: true}
	snatIP   = netip.MustParseAddr("198.51.100.1")
	snatTail = &correlator.Caller{Program: "tail_handle_snat_fwd_ipv4"}
)

// traffic makes connections and breaks them: what Hubble would show goes to a
// server, what the kernel would see to changes.
type traffic struct {
	t       testing.TB
	hubble  *hubbletest.Server
	changes func(...correlator.Event)
}

// connection is the n-th of 12 million, with a pod's side of its own.
type connection struct{ pod, server, before, after netip.AddrPort }

func connectionOf(n int) connection {
	port := uint16(1024 + 2*(n%30_000)) //nolint:gosec // below 61,024
	var pod, server [4]byte
	binary.BigEndian.PutUint32(pod[:], uint32(10<<24+n/30_000*1000+n%1000+10)) //nolint:gosec // small
	binary.BigEndian.PutUint32(server[:], uint32(203<<24+113<<8+n/30_000))     //nolint:gosec // small
	return connection{
		pod: netip.AddrPortFrom(netip.AddrFrom4(pod), port), server: netip.AddrPortFrom(netip.AddrFrom4(server), 443),
		before: netip.AddrPortFrom(snatIP, port), after: netip.AddrPortFrom(snatIP, port+1),
	}
}

// open shows an established connection to Hubble.
func (tr *traffic) open(ctx context.Context, n int) {
	c := connectionOf(n)
	tr.feed(ctx, c.pod, c.server, flow.TraceObservationPoint_TO_STACK, &flow.TCPFlags{SYN: true})
	tr.feed(ctx, c.server, c.pod, flow.TraceObservationPoint_TO_ENDPOINT, &flow.TCPFlags{SYN: true, ACK: true})
	tr.feed(ctx, c.pod, c.server, flow.TraceObservationPoint_TO_STACK, &flow.TCPFlags{ACK: true})
	tr.feed(ctx, c.server, c.pod, flow.TraceObservationPoint_TO_ENDPOINT, &flow.TCPFlags{ACK: true, PSH: true})
}

// sever evicts its OUT entry, gives it another port and shows the RST.
func (tr *traffic) sever(ctx context.Context, n int) {
	c := connectionOf(n)
	tr.changes(
		change(correlator.Evict, correlator.Out, c.pod, c.server, c.before),
		change(correlator.Insert, correlator.In, c.server, c.after, c.pod),
		change(correlator.Insert, correlator.Out, c.pod, c.server, c.after),
	)
	tr.feed(ctx, c.server, c.pod, flow.TraceObservationPoint_TO_ENDPOINT, &flow.TCPFlags{RST: true})
}

// other shows a packet of no interest: Hubble withholds its newest event.
func (tr *traffic) other(ctx context.Context) {
	pod, server := netip.MustParseAddrPort("10.9.9.9:999"), netip.MustParseAddrPort("203.0.113.250:80")
	tr.feed(ctx, pod, server, flow.TraceObservationPoint_TO_STACK, &flow.TCPFlags{ACK: true})
}

func (tr *traffic) feed(ctx context.Context, src, dst netip.AddrPort, point flow.TraceObservationPoint, flags *flow.TCPFlags) {
	now := timestamppb.Now()
	f := &flow.Flow{
		Time: now, Verdict: flow.Verdict_FORWARDED, NodeName: "node-a", Type: flow.FlowType_L3_L4,
		IP: &flow.IP{Source: src.Addr().String(), Destination: dst.Addr().String(), IpVersion: flow.IPVersion_IPv4},
		L4: &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: &flow.TCP{
			SourcePort: uint32(src.Port()), DestinationPort: uint32(dst.Port()), Flags: flags,
		}}},
		Source: &flow.Endpoint{Identity: 2}, Destination: &flow.Endpoint{Identity: 2},
		EventType: &flow.CiliumEventType{Type: 4}, TraceObservationPoint: point,
	}
	pod := &flow.Endpoint{ID: 100, Identity: 1234, Namespace: "shop", PodName: "cart-1"}
	if point == flow.TraceObservationPoint_TO_ENDPOINT {
		f.Destination, f.TraceReason = pod, flow.TraceReason_REPLY
	} else {
		f.Source, f.EventType.SubType = pod, 3
		f.TraceReason = flow.TraceReason_ESTABLISHED
		if flags.GetSYN() {
			f.TraceReason = flow.TraceReason_NEW
		}
	}
	if point == flow.TraceObservationPoint_UNKNOWN_POINT { // dropped, for want of a port
		f.Verdict, f.DropReasonDesc, f.EventType = flow.Verdict_DROPPED, flow.DropReason_NO_MAPPING_FOR_NAT_MASQUERADE, &flow.CiliumEventType{Type: 1}
	}
	err := tr.hubble.Feed(&observer.GetFlowsResponse{
		NodeName: "node-a", Time: now, ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: f},
	})
	if err != nil && ctx.Err() == nil {
		tr.t.Errorf("feeding a flow: %v", err)
	}
}

func change(op correlator.Op, dir correlator.Dir, src, dst, to netip.AddrPort) correlator.Event {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // every Linux has it
	ev := correlator.Event{
		Time: time.Now().UnixNano(), Kind: correlator.KindNAT,
		Tuple: correlator.Tuple{Protocol: correlator.TCP, Src: correlator.AddrOf(src), Dst: correlator.AddrOf(dst)},
		NAT: correlator.NATChange{
			Op: op, Dir: dir, To: correlator.AddrOf(to), KTime: uint64(now.Nano()), Map: natMap, //nolint:gosec // positive
		},
	}
	if op == correlator.Insert {
		ev.NAT.Caller = snatTail
	}
	return ev
}
