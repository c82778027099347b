// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"runtime"
	"testing"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// benchConnections live at a time in the benchmarks.
const benchConnections = 200_000

// steadyNode yields the events of a node in steady state, 50,000 a second:
// packets of random living connections both ways, and for one event in 16 an
// eviction with its restore.
type steadyNode struct {
	nat      *correlator.Map
	peer     *correlator.Peer
	at       int64
	rng      uint64
	restores uint32 // connection to restore next, 0 if none
}

func (n *steadyNode) next(ev *correlator.Event) {
	n.at += 20_000
	n.rng = n.rng*6364136223846793005 + 1442695040888963407
	i := uint32(n.rng>>33) % benchConnections
	kind := n.rng >> 20 & 31
	*ev = correlator.Event{Time: n.at}
	if n.restores != 0 {
		i, kind = n.restores-1, 32
		n.restores = 0
	}
	pod := addr(10, int(i>>15), uint16(i&0x7fff)+20000)
	server := addr(192, int(i%7), 443)
	snat := addr(172, int(i>>15), uint16(i&0x7fff)+20000)
	ev.Tuple = correlator.Tuple{Src: pod, Dst: server, Protocol: correlator.TCP}
	switch {
	case kind >= 31:
		ev.Kind = correlator.KindNAT
		ev.NAT = correlator.NATChange{Op: correlator.Evict, Map: n.nat, To: snat, KTime: uint64(n.at)}
		if kind == 32 {
			ev.NAT.Op = correlator.Insert
		} else {
			n.restores = i + 1
		}
	case kind&1 == 0:
		ev.Kind = correlator.KindFlow
		ev.Flow = correlator.Flow{Src: n.peer, Flags: correlator.ACK, Point: correlator.ToStack, Reason: correlator.ReasonEstablished}
	default:
		ev.Kind, ev.Tuple = correlator.KindFlow, ev.Tuple.Reverse()
		ev.Flow = correlator.Flow{Dst: n.peer, Flags: correlator.ACK, Point: correlator.ToEndpoint, Reason: correlator.ReasonReply}
	}
}

func newSteadyNode() *steadyNode {
	return &steadyNode{
		nat: &correlator.Map{Name: "cilium_snat_v4_external"}, peer: &correlator.Peer{Namespace: "shop", Pod: "cart-1"}, at: start,
	}
}

func BenchmarkObserve(b *testing.B) {
	node := newSteadyNode()
	c := newCorrelator(b, correlator.Config{MaxConnections: benchConnections}, func(i *incident.Incident) {
		b.Fatalf("a restored connection became an incident: %+v", i)
	})
	var ev correlator.Event
	for range 20 * benchConnections { // all connections known, all buffers grown
		node.next(&ev)
		c.Observe(&ev)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		node.next(&ev)
		c.Observe(&ev)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(c.Stats().Connections), "connections")
}

// BenchmarkConnectionMemory measures what a tracked connection costs, index
// included, by the heap before and after a full table.
func BenchmarkConnectionMemory(b *testing.B) {
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := newCorrelator(b, correlator.Config{MaxConnections: benchConnections, Hold: 1e6}, func(*incident.Incident) {})
		node := newSteadyNode()
		var ev correlator.Event
		for range 20 * benchConnections {
			node.next(&ev)
			c.Observe(&ev)
		}
		c.Flush()
		runtime.GC()
		runtime.ReadMemStats(&after)
		n := c.Stats().Connections
		if n != benchConnections {
			b.Fatalf("%d connections, want %d", n, benchConnections)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/connection")
		runtime.KeepAlive(c)
	}
}
