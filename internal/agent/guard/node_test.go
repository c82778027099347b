// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/kprobes"
)

// node is a kernel whose maps' counters, and what is in them, a test sets.
type node struct {
	nat, ct *correlator.Map
	updates []uint64 // of the NAT map, by CPU
	evicted uint64
	entries []kprobes.Occupancy // nil: not counted
	is      map[correlator.Tuple]kprobes.Condition
	tracked []correlator.Tuple                   // living connections in the tracking map
	mapped  map[correlator.Tuple]correlator.Addr // OUT entries
	touched []correlator.Tuple                   // by the last call
	runs    int
	host    bool // asked for the node's own, too
	err     error
}

func newNode(entries uint32) *node {
	return &node{
		nat:     &correlator.Map{Name: "cilium_snat_v4_external", ID: 1, MaxEntries: entries},
		ct:      &correlator.Map{Name: "cilium_ct4_global", ID: 2, MaxEntries: entries, CT: true},
		updates: make([]uint64, 2), is: map[correlator.Tuple]kprobes.Condition{},
	}
}

func (n *node) Touch(all []kprobes.Touched, host bool) error {
	n.runs++
	n.host = host
	n.touched = n.touched[:0]
	for i := range all {
		n.touched = append(n.touched, all[i].Tuple)
		all[i].Condition = kprobes.Kept
		if is, ok := n.is[all[i].Tuple]; ok {
			all[i].Condition = is
		}
	}
	return n.err
}

func (n *node) Updates() ([]kprobes.Updates, error) {
	return []kprobes.Updates{
		{Map: n.ct, ByCPU: make([]uint64, 2)},
		{Map: n.nat, ByCPU: append([]uint64(nil), n.updates...), Evictions: n.evicted},
	}, nil
}

func (n *node) Occupancy() ([]kprobes.Occupancy, error) {
	if n.entries == nil {
		return nil, kprobes.ErrNoCount
	}
	return n.entries, nil
}

func (n *node) Tracked(_ context.Context, id uint32, each func(correlator.Tuple)) error {
	if id != n.ct.ID {
		return errors.New("not the tracking map")
	}
	for _, t := range n.tracked {
		each(t)
	}
	return nil
}

func (n *node) Lookup(t correlator.Tuple, d correlator.Dir) (correlator.Addr, bool, error) {
	to, found := n.mapped[t]
	return to, found && d == correlator.Out, nil
}

// track makes a connection that lived before the guard did.
func (n *node) track(t correlator.Tuple, snat string) {
	n.tracked = append(n.tracked, t)
	if n.mapped == nil {
		n.mapped = map[correlator.Tuple]correlator.Addr{}
	}
	if snat != "" {
		n.mapped[t] = correlator.AddrOf(netip.AddrPortFrom(netip.MustParseAddr(snat), t.Src.Port))
	}
}

func newGuard(t *testing.T, c Config, n *node) *Guard {
	t.Helper()
	g, err := New(c, n, 2)
	if err != nil {
		t.Fatal(err)
	}
	g.spent = func() (time.Duration, error) { return 0, nil }
	return g
}

var start = time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)

// turn has as many updates pass as are due, and a turn after a time.
func (n *node) turn(t *testing.T, g *Guard, at time.Duration) {
	t.Helper()
	n.updates[0] += uint64(n.nat.MaxEntries)
	if _, err := g.turn(t.Context(), start.Add(at)); err != nil {
		t.Fatal(err)
	}
}

func tuple(port int) correlator.Tuple {
	return correlator.Tuple{
		Src: correlator.AddrOf(netip.MustParseAddrPort(fmt.Sprintf("10.0.1.10:%d", port))),
		Dst: correlator.AddrOf(netip.MustParseAddrPort("192.0.2.10:443")), Protocol: correlator.TCP,
	}
}

var cart = &correlator.Peer{Identity: 1234, Namespace: "shop", Pod: "cart-1", Workload: "Deployment/cart"}

// flow is a packet of a pod.
func flow(port int, pod *correlator.Peer, flags correlator.TCPFlags, at time.Duration) *correlator.Event {
	return &correlator.Event{
		Time: start.Add(at).UnixNano(), Kind: correlator.KindFlow, Tuple: tuple(port),
		Flow: correlator.Flow{Src: pod, Flags: flags, Point: correlator.ToStack, Reason: correlator.ReasonEstablished},
	}
}

func eviction(port int, forced bool) *correlator.Event {
	return &correlator.Event{
		Kind: correlator.KindNAT, Tuple: tuple(port),
		NAT: correlator.NATChange{Op: correlator.Evict, Map: &correlator.Map{}, Forced: forced},
	}
}

func (n *node) has(port int) bool {
	for _, t := range n.touched {
		if t == tuple(port) {
			return true
		}
	}
	return false
}
