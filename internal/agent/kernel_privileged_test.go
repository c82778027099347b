// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/kprobes"
)

// TestPrivilegedAgentKernel follows one agent through what a kernel may do to
// it: more events than its ring buffer holds, a map replaced, the clock set.
// Before that it is asked for flows.
func TestPrivilegedAgentKernel(t *testing.T) {
	address, serve := observerAt(t, fmt.Sprint(ciliumGroup))
	n := startRealNode(t, kprobes.Config{RingBytes: 1 << 18}, serve) // some 2,300 events
	checkObserver(t, n, address)
	checkWhoMayConnect(t, address)
	lost := checkFlood(t, n)
	checkMapReplaced(t, n)
	checkClock(t, n)
	// A loss shows in the incidents of the next 10 s, and in no other.
	time.Sleep(time.Until(lost.Add(10 * time.Second)))
	c := n.begin(1)
	n.sever(t.Context(), c)
	if i := n.awaitNamed(c)[c]; i.Loss.KernelEvents != 0 {
		t.Errorf("loss long after there was one: %+v", i.Loss)
	}
}

// checkFlood has evictions overflow the ring buffer while nobody reads it, and
// returns until when.
func checkFlood(t *testing.T, n *realNode) (lost time.Time) {
	t.Helper()
	before := n.begin(2)
	across := before + 1
	n.sever(t.Context(), before)
	n.lose(across)
	if i := n.awaitNamed(before)[before]; i.Loss.KernelEvents != 0 || len(n.status().Losses) != 0 {
		t.Errorf("loss before there was any: %+v, %v", i.Loss, n.status().Losses)
	}
	n.overflow()
	dropped, place := n.dropped(), correlator.LossKernelRing.String()
	eventually(t, "the status has the loss", func() bool { return n.status().Losses[place] == dropped })
	lost = time.Now()
	n.rename(across)
	n.reset(across)
	if i := n.awaitNamed(across)[across]; i.Loss.KernelEvents != dropped {
		t.Errorf("loss %+v, of %d events", i.Loss, dropped)
	}
	if want := fmt.Sprintf("renat_losses_total{place=%q} %d\n", place, dropped); !strings.Contains(n.get("/metrics"), want) {
		t.Errorf("no %s in the metrics", want)
	}
	n.awaitReady() // on a busy machine it was behind
	if s := n.status(); len(s.Losses) != 1 || n.dropped() != dropped {
		t.Errorf("afterwards: %+v, losses %v", s.Parts, s.Losses)
	}
	return lost
}

// overflow makes events until the ring buffer has no room, and no reader.
func (n *realNode) overflow() {
	n.tracer.hold.Lock()
	defer n.tracer.hold.Unlock()
	for n.dropped() == 0 && !n.t.Failed() {
		n.nat.crowd(4096)
	}
}

// dropped is how many events the ring buffer had no room for.
func (n *realNode) dropped() uint64 {
	n.t.Helper()
	s, err := n.tracer.Stats()
	if err != nil {
		n.t.Fatal(err)
	}
	return s.Total.Dropped
}

// checkMapReplaced has Cilium replace its map while connections break all the
// time.
func checkMapReplaced(t *testing.T, n *realNode) {
	t.Helper()
	kept := n.begin(2)
	broken := kept + 1
	n.sever(t.Context(), broken)
	n.awaitNamed(broken)
	old := n.status().Maps[0].ID
	n.nat.Close()
	n.nat = newCiliumMap(t, n.bpffs, n.tracer.Status().Backend)
	replaced := time.Now()
	n.nat.admit(connectionOf(kept)) // by a packet: its port is free in the new map
	n.acknowledge(kept)
	first := n.next
	var after []time.Duration // each connection was broken since the map was replaced
	for time.Since(replaced) < 5*time.Second {
		c := n.begin(1)
		after = append(after, time.Since(replaced))
		n.sever(t.Context(), c)
	}
	named := n.awaitNamed(n.next - 1)
	if named[kept] != nil {
		t.Error("a connection that kept its port was named")
	}
	seen := 0
	for i, when := range after {
		switch {
		case named[first+i] != nil:
			seen++
		case when > 4*time.Second: // 2 s, but for a busy emulated machine
			t.Errorf("a connection that broke %s after the map was replaced was not named", when)
		}
	}
	if maps := n.status().Maps; len(maps) != 1 || maps[0].ID == old {
		t.Errorf("maps %+v, the old one was %d", maps, old)
	}
	t.Logf("%d of %d connections named that broke in the 5 s since the map was replaced", seen, len(after))
}

// span is a time on the wall clock.
type span struct{ from, to time.Time }

// during returns when it called do, by the wall clock.
func during(do func()) span {
	from := time.Now().Round(0)
	do()
	return span{from, time.Now().Round(0)}
}

// has allows for the clocks being read one after the other.
func (s span) has(at time.Time) bool {
	const slack = 20 * time.Millisecond
	return !at.Before(s.from.Add(-slack)) && !at.After(s.to.Add(slack))
}

// checkClock sets the machine's clock while connections break: before, across
// and after it.
func checkClock(t *testing.T, n *realNode) {
	t.Helper()
	for turn, step := range []time.Duration{time.Hour, -time.Hour} {
		before := n.begin(4)
		evicted, renamed, shown := before+1, before+2, before+3 // what they are when the clock is set
		early := during(func() {
			for c := before; c <= shown; c++ { // an eviction takes many at once
				n.lose(c)
			}
			n.rename(before)
			n.reset(before)
			n.rename(renamed)
			n.rename(shown)
			n.reset(shown) // Hubble withholds its newest event: this one arrives later
		})
		set := unix.NsecToTimespec(time.Now().Add(step).UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &set); err != nil {
			t.Fatal(err)
		}
		n.reset(renamed)
		// What the kernel does before the agent notices may be dated by either clock.
		eventually(t, "the agent notices", func() bool { return n.status().ClockSteps == uint64(turn+1) }) //nolint:gosec // small
		late := during(func() { n.rename(evicted) })
		n.reset(evicted)
		named := n.awaitNamed(before, evicted, renamed, shown)
		for c := before; c <= shown; c++ {
			renaming := early
			if c == evicted {
				renaming = late
			}
			if i := named[c]; !early.has(i.NAT.RemovedAt) || !renaming.has(i.Time) || !i.NAT.RenattedAt.Equal(i.Time) {
				t.Errorf("clock set by %s: connection %d removed at %s, re-NATted at %s; was %+v, %+v",
					step, c-before, i.NAT.RemovedAt, i.Time, early, renaming)
			}
		}
	}
	// The next stream must not wait for the time of the last flow.
	n.hubble.Halt()
	if err := n.hubble.Resume(true); err != nil {
		t.Fatal(err)
	}
	c := n.begin(1)
	broken := during(func() { n.sever(t.Context(), c) })
	i := n.awaitNamed(c)[c]
	if last := i.Evidence[len(i.Evidence)-1].Time; !broken.has(i.NAT.RemovedAt) || !broken.has(i.Time) || !broken.has(last) {
		t.Errorf("removed at %s, re-NATted at %s, reset at %s; was %+v", i.NAT.RemovedAt, i.Time, last, broken)
	}
}
