// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/kprobes"
)

func TestGuardsWhatLives(t *testing.T) {
	n := newNode(65536)
	g := newGuard(t, Config{}, n)
	syn := flow(1, cart, correlator.SYN, 0)
	syn.Flow.Reason = correlator.ReasonNew
	g.Flow(syn)
	g.Flow(flow(2, cart, correlator.ACK, 0))
	reply := flow(3, nil, correlator.ACK, 0)
	reply.Tuple, reply.Flow.Src, reply.Flow.Dst = reply.Tuple.Reverse(), nil, cart
	reply.Flow.Point, reply.Flow.Reason = correlator.ToEndpoint, correlator.ReasonReply
	g.Flow(reply)
	incoming := flow(4, nil, correlator.ACK, 0) // somebody connected to the pod
	incoming.Flow.Point = correlator.ToEndpoint
	g.Flow(incoming)
	g.Flow(flow(5, &correlator.Peer{Identity: identityHost}, correlator.ACK, 0))
	udp := flow(6, cart, 0, 0)
	udp.Tuple.Protocol = correlator.UDP
	g.Flow(udp)
	post := flow(7, cart, correlator.ACK, 0)
	post.Flow.Xlated = [16]byte{15: 1}
	g.Flow(post)
	g.Flow(flow(8, cart, correlator.ACK, 0))
	g.Flow(flow(8, cart, correlator.FIN|correlator.ACK, 0))
	g.Flow(flow(8, cart, correlator.ACK, time.Millisecond)) // its last
	n.turn(t, g, time.Second)
	if len(n.touched) != 2 || !n.has(2) || !n.has(3) {
		t.Errorf("looked up: %v, want the two that live", n.touched)
	}
	if s := g.Status(); s.Connections != 2 || s.Runs != 1 || s.Problem != "" || s.Idle {
		t.Errorf("status %+v", s)
	}
	if !g.Knows(tuple(2)) || g.Knows(tuple(8)) {
		t.Error("it does not know what it guarded")
	}
}

// TestKnowsWhatBroke wants those to be known for a while that may have broken, and
// those to be forgotten at once that were closed in good order.
func TestKnowsWhatBroke(t *testing.T) {
	n := newNode(65536)
	g := newGuard(t, Config{}, n)
	for port := range 4 {
		g.Flow(flow(port, cart, correlator.ACK, 0))
	}
	n.turn(t, g, 0)
	g.Change(eviction(1, false))
	reset := flow(2, nil, correlator.RST, 0)
	reset.Tuple, reset.Flow.Point, reset.Flow.Reason = reset.Tuple.Reverse(), correlator.ToEndpoint, correlator.ReasonReply
	g.Flow(reset)
	for _, port := range []int{0, 1} {
		g.Flow(flow(port, cart, correlator.FIN|correlator.ACK, 0))
	}
	for port, want := range []bool{false, true, true, true} {
		if g.Knows(tuple(port)) != want {
			t.Errorf("connection %d is known: %t", port, !want)
		}
	}
	if n.turn(t, g, time.Second); len(n.touched) != 1 || !n.has(3) {
		t.Errorf("looked up %v, want the one that lives", n.touched)
	}
}

// TestLeavesAlone has the program say what to look up no more.
func TestLeavesAlone(t *testing.T) {
	n := newNode(65536)
	g := newGuard(t, Config{UDP: true}, n)
	ends := []kprobes.Condition{kprobes.Closing, kprobes.Expired, kprobes.Untracked, kprobes.HostsOwn, kprobes.OutGone}
	for port, is := range ends {
		g.Flow(flow(port, cart, correlator.ACK, 0))
		n.is[tuple(port)] = is
	}
	g.Flow(flow(90, cart, correlator.ACK, 0))
	n.is[tuple(90)] = kprobes.Opening
	n.turn(t, g, time.Millisecond)
	for port := range ends {
		g.Flow(flow(port, cart, correlator.ACK, 2*time.Millisecond)) // does not bring them back at once
	}
	n.turn(t, g, 3*time.Millisecond)
	if len(n.touched) != 1 || !n.has(90) {
		t.Errorf("looked up again: %v", n.touched)
	}
	syn := flow(0, cart, correlator.SYN, 4*time.Millisecond)
	g.Flow(syn) // another connection from the same port
	g.Flow(flow(0, cart, correlator.ACK, 4*time.Millisecond))
	delete(n.is, tuple(0))
	n.turn(t, g, 5*time.Millisecond)
	if len(n.touched) != 2 || !n.has(0) {
		t.Errorf("looked up: %v, want the new one, too", n.touched)
	}
	n.turn(t, g, 2*restTime)
	if s := g.Status(); s.Known != 2 {
		t.Errorf("%d connections are remembered, want the two that live", s.Known)
	}
}

// TestLeavesTalkers has maps fill slowly: the packets of a TCP connection keep
// its entries then, and a new one needs no look at once.
func TestLeavesTalkers(t *testing.T) {
	n := newNode(65536)
	g := newGuard(t, Config{UDP: true}, n)
	oneWay := func(at time.Duration) *correlator.Event {
		ev := flow(3, cart, 0, at)
		ev.Tuple.Protocol = correlator.UDP
		return ev
	}
	g.Flow(flow(1, cart, correlator.ACK, 0))
	g.Flow(flow(2, cart, correlator.ACK, 0))
	g.Flow(oneWay(0))
	n.turn(t, g, 0)
	n.turn(t, g, latest/4)
	g.Flow(flow(1, cart, correlator.ACK, latest/4))
	g.Flow(oneWay(latest / 4))
	g.Flow(flow(4, cart, correlator.ACK, latest/4))
	n.touched = nil
	if _, err := g.turn(t.Context(), start.Add(latest/4+1)); err != nil || len(n.touched) > 0 {
		t.Errorf("looked up at once: %v, %v", n.touched, err)
	}
	n.turn(t, g, latest/2)
	if len(n.touched) != 2 || !n.has(2) || g.Status().Connections != 3 {
		t.Errorf("looked up %v, status %+v; want the silent one and the one of UDP, and the one that talks guarded, too", n.touched, g.Status())
	}
	n.turn(t, g, latest)
	if len(n.touched) != 4 || g.Status().Connections != 4 {
		t.Errorf("looked up %v, status %+v; want all: none spoke since the last run", n.touched, g.Status())
	}
}

// TestRunsByUpdates wants a run after sizing.TouchEvery updates, of one CPU if
// each has its own list, and none while the maps have room.
func TestRunsByUpdates(t *testing.T) {
	for _, distributed := range []bool{false, true} {
		n := newNode(65536)
		n.nat.Distributed = distributed
		g := newGuard(t, Config{}, n)
		turn := func(at time.Duration, cpu int, updates uint64) int {
			n.updates[cpu] += updates
			before := g.Status().Runs
			if _, err := g.turn(t.Context(), start.Add(at)); err != nil {
				t.Fatal(err)
			}
			return int(g.Status().Runs - before)
		}
		every := uint64((65536 - 2*128) / 8)
		if distributed {
			every = 65536 / 2 / 8
		}
		if turn(0, 0, 0) != 1 {
			t.Error("no run at the start")
		}
		if turn(1, 0, every/2+1) != 0 {
			t.Error("a run before it is due")
		}
		if want, did := map[bool]int{false: 1, true: 0}[distributed], turn(2, 1, every/2+1); did != want {
			t.Errorf("distributed %t: %d runs when the CPUs together are due, want %d", distributed, did, want)
		}
		if turn(3, 1, every) != 1 {
			t.Error("no run when it is due")
		}
		n.entries = []kprobes.Occupancy{{Map: n.nat, Entries: 20_000}, {Map: n.ct, Entries: 20_000}}
		if turn(4, 0, every) != 0 || !g.Status().Idle {
			t.Error("a run while the maps are less than half full")
		}
		n.entries[1].Entries = 33_000
		if turn(5, 0, every) != 1 || g.Status().Idle {
			t.Error("no run although a map is half full")
		}
	}
}

// TestChooses has more connections than may be guarded.
func TestChooses(t *testing.T) {
	n := newNode(1024) // 768 usable, a quarter of it: 96 connections
	g := newGuard(t, Config{}, n)
	for port := range 200 {
		g.Flow(flow(port, cart, correlator.ACK, time.Duration(200-port)*time.Second))
	}
	for port := 1000; port < 1080; port++ {
		g.Flow(flow(port, &correlator.Peer{Namespace: "shop", Pod: fmt.Sprint("other-", port)}, correlator.ACK, time.Hour))
	}
	n.turn(t, g, time.Second)
	carts := 0
	for port := range 200 {
		if n.has(port) {
			carts++
			if port < 200-24 {
				t.Errorf("connection %d is guarded, though others of its workload were silent for longer", port)
			}
		}
	}
	if carts != 24 || len(n.touched) != 96 {
		t.Errorf("%d are guarded, %d of one workload, want 96 and 24", len(n.touched), carts)
	}
}

func TestMatches(t *testing.T) {
	n := newNode(65536)
	n.track(tuple(1), "198.51.100.1")
	n.track(tuple(2), "198.51.100.1")
	match := func(i *incident.Incident) bool {
		return i.Source.Namespace == "shop" && i.Destination.Port == 443 && i.Source.Workload == "Deployment/cart"
	}
	g := newGuard(t, Config{Match: match}, n)
	n.turn(t, g, 0)
	if len(n.touched) != 0 {
		t.Errorf("looked up without knowing whose it is: %v", n.touched)
	}
	g.Flow(flow(1, cart, correlator.ACK, 0))
	g.Flow(flow(2, &correlator.Peer{Namespace: "pay"}, correlator.ACK, 0))
	n.turn(t, g, time.Second)
	if len(n.touched) != 1 || !n.has(1) {
		t.Errorf("looked up %v", n.touched)
	}
}

// TestSeeds wants the tracked connections that live since before the start to be
// guarded, if they are translated.
func TestSeeds(t *testing.T) {
	for _, host := range []bool{false, true} {
		n := newNode(65536)
		n.track(tuple(1), "198.51.100.1")
		n.track(tuple(2), "") // to another pod
		n.track(tuple(3), "10.0.1.10")
		udp := tuple(4)
		udp.Protocol = correlator.UDP
		n.track(udp, "198.51.100.1")
		g := newGuard(t, Config{Host: host}, n)
		n.turn(t, g, 0)
		want := 1
		if host {
			want++
		}
		if len(n.touched) != want || !n.has(1) || n.has(3) != host || g.Status().Known != want {
			t.Errorf("looked up %v, want the TCP connection, and the node's own: %t", n.touched, host)
		}
		n.track(tuple(5), "198.51.100.1")
		n.turn(t, g, time.Second)
		if n.has(5) {
			t.Error("the map was read twice")
		}
		n.ct = &correlator.Map{Name: n.ct.Name, ID: 7, MaxEntries: 65536, CT: true} // replaced
		n.turn(t, g, 2*time.Second)
		if !n.has(5) {
			t.Error("a map that is new was not read")
		}
	}
}

// TestLooksAtOnce wants what was established between two runs to be looked up
// before the next one, once, and no more than may be.
func TestLooksAtOnce(t *testing.T) {
	n := newNode(1024) // 96 connections
	g := newGuard(t, Config{}, n)
	for port := range 90 {
		g.Flow(flow(port, &correlator.Peer{Pod: fmt.Sprint(port)}, correlator.ACK, 0))
	}
	n.turn(t, g, 0)
	look := func() int {
		t.Helper()
		n.touched = nil
		if _, err := g.turn(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		return len(n.touched)
	}
	if look() != 0 {
		t.Errorf("looked up without need: %v", n.touched)
	}
	for port := 100; port < 103; port++ {
		g.Flow(flow(port, cart, correlator.ACK, 0))
	}
	g.Flow(flow(101, cart, correlator.ACK|correlator.FIN, 0))
	if s := g.Status(); look() != 2 || !n.has(100) || !n.has(102) || s.Connections != 90 || g.Status().Connections != 92 || g.Status().Runs != 1 {
		t.Errorf("looked up %v, then %+v", n.touched, g.Status())
	}
	if look() != 0 {
		t.Error("looked up again before a run")
	}
	for port := 200; port < 300; port++ {
		g.Flow(flow(port, cart, correlator.ACK, 0))
	}
	if got := look(); got != 4 {
		t.Errorf("%d are looked up, want the 4 for which there is room", got)
	}
	n.entries = []kprobes.Occupancy{{Map: n.nat, Entries: 100}, {Map: n.ct, Entries: 100}}
	n.turn(t, g, time.Second)
	g.Flow(flow(400, cart, correlator.ACK, 0))
	if look() != 0 {
		t.Error("looked up while the maps are less than half full")
	}
}

// TestGuardsHost guards the node's own connections when asked to, and counts
// what is behind its address by the server, not as one workload.
func TestGuardsHost(t *testing.T) {
	for _, host := range []bool{false, true} {
		n := newNode(1024) // 96 connections
		g := newGuard(t, Config{Host: host}, n)
		for port := range 200 {
			ev := flow(port, &correlator.Peer{Identity: identityHost}, correlator.ACK, time.Duration(port))
			ev.Flow.Point, ev.Tuple.Dst.Port = correlator.ToNetwork, uint16(440+port%10)
			g.Flow(ev)
		}
		n.turn(t, g, time.Second)
		if want := map[bool]int{false: 0, true: 96}[host]; len(n.touched) != want || n.host != host {
			t.Errorf("asked for the node's own %t: %d are looked up, want %d; the program was asked for them: %t", host, len(n.touched), want, n.host)
		}
	}
}

// TestCountsKept estimates how many connections would have broken.
func TestCountsKept(t *testing.T) {
	n := newNode(1024)
	g := newGuard(t, Config{}, n)
	g.Flow(flow(1, cart, correlator.ACK, 0))
	n.turn(t, g, time.Second)
	for _, step := range []struct{ evicted, want uint64 }{{700, 0}, {700, 0}, {769, 1}, {100, 1}} {
		n.evicted += step.evicted
		n.turn(t, g, time.Minute)
		g.Flow(flow(1, cart, correlator.ACK, time.Minute))
		if kept := g.Status().Kept; kept != step.want {
			t.Errorf("after %d evictions: %d kept, want %d", step.evicted, kept, step.want)
		}
	}
}

func TestForgetsNothingInSilence(t *testing.T) {
	n := newNode(1 << 24)
	g := newGuard(t, Config{}, n)
	for i := range tableMax + 3 {
		one := tuple(i % 65536)
		one.Dst.Port = uint16(i / 65536)
		ev := flow(0, cart, correlator.ACK, 0)
		ev.Tuple = one
		g.Flow(ev)
	}
	n.turn(t, g, 0)
	if s := g.Status(); s.Overlooked != 3 || s.Known != tableMax || s.Limit != most || len(n.touched) != most/oneWorkload {
		t.Errorf("%d looked up, status %+v", len(n.touched), s)
	}
}

// TestSaysWhyNot lets the kernel refuse.
func TestSaysWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(1024)
		n.err = fmt.Errorf("linux 5.10: %w", kprobes.ErrNoGuard)
		g := newGuard(t, Config{}, n)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if s := g.Status(); s.Problem != "linux 5.10: the guard needs Linux 5.14 or newer" || n.runs != 1 {
			t.Errorf("%d tries, status %+v", n.runs, s)
		}
	})
}

func TestRefusesConfig(t *testing.T) {
	for _, c := range []Config{{Share: 0.6}, {Share: -1}, {CPU: 2}, {CPU: -1}} {
		if _, err := New(c, newNode(1024), 2); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
