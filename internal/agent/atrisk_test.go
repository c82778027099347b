// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/nodestatus"
)

// ownConnection is one of the node's own, which keeps its port.
func ownConnection(port uint16) connection {
	return connection{pod: netip.AddrPortFrom(snatIP, port), server: connectionOf(0).server}
}

// TestAtRisk has connections lose either entry, or both, and wants them listed
// with what breaks them, but not those that connection tracking has forgotten or
// that the map has after all.
func TestAtRisk(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.awaitReady()
	for c := range 4 {
		n.open(t.Context(), c)
		one := connectionOf(c)
		n.changes(change(correlator.Insert, correlator.Out, one.pod, one.server, one.before),
			change(correlator.Insert, correlator.In, one.server, one.before, one.pod))
	}
	own := []connection{ownConnection(41000), ownConnection(41001)}
	for _, one := range own {
		n.changes(change(correlator.Insert, correlator.In, one.server, one.pod, one.pod),
			change(correlator.Insert, correlator.Out, one.pod, one.server, one.pod))
		n.feed(t.Context(), one.pod, one.server, flow.TraceObservationPoint_TO_NETWORK, &flow.TCPFlags{SYN: true})
		n.feed(t.Context(), one.pod, one.server, flow.TraceObservationPoint_TO_NETWORK, &flow.TCPFlags{ACK: true})
	}
	n.other(t.Context())
	time.Sleep(50 * time.Millisecond) // more than the agent reorders
	lose := func(c int, d correlator.Dir) {
		one := connectionOf(c)
		if d == correlator.Out {
			n.changes(change(correlator.Evict, d, one.pod, one.server, one.before))
		} else {
			n.changes(change(correlator.Evict, d, one.server, one.before, one.pod))
		}
	}
	lose(0, correlator.Out)
	lose(1, correlator.In)
	lose(2, correlator.Out)
	lose(2, correlator.In)
	n.changes(change(correlator.Evict, correlator.Out, own[0].pod, own[0].server, own[0].pod),
		change(correlator.Evict, correlator.Out, own[1].pod, own[1].server, own[1].pod),
		change(correlator.Evict, correlator.In, own[1].server, own[1].pod, own[1].pod)) // keeps its port
	lost := natTuples()[2] // connection tracking has not
	n.feed(t.Context(), lost.Src.AddrPort(), lost.Dst.AddrPort(), 3, nil)
	n.changes(correlator.Event{Kind: correlator.KindNAT, Time: time.Now().UnixNano(), Tuple: lost,
		NAT: correlator.NATChange{Op: correlator.Evict, Map: natMap}})
	var all nodestatus.AtRisk
	eventually(t, "four are at risk", func() bool {
		get(t, n.http+"/v1/at-risk", &all)
		return len(all.Connections) == 4
	})
	want := map[string]string{
		connectionOf(0).pod.String(): "OUT, by the pod", connectionOf(1).pod.String(): "IN, by the server", connectionOf(2).pod.String(): "both, by the server",
		own[0].pod.String(): "OUT, by the pod",
	}
	for _, r := range all.Connections {
		if got := r.Gone + ", by the " + r.Breaks; want[r.Source.Address] != got || r.Source.Pod != "cart-1" || r.Protocol != "TCP" ||
			time.Since(r.Since) > time.Minute || r.NAT == "" || r.Guarded || r.HostNetwork != (r.Source.Address == own[0].pod.String()) {
			t.Errorf("%+v", r)
		}
	}
	eventually(t, "the status says so", func() bool {
		s := n.status()
		return s.AtRisk != nil && *s.AtRisk == 4 && slices.EqualFunc(s.Risks, all.Connections, func(told, listed nodestatus.Risk) bool {
			return told.Source.Address == listed.Source.Address && told.Breaks == listed.Breaks
		})
	})
	if !strings.Contains(n.get("/metrics"), "\nrenat_connections_at_risk 4\n") {
		t.Error("the metrics do not")
	}
}
