// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
)

// node is what a node's maps hold, by a recording's operations.
type node struct {
	ct      map[correlator.Tuple]bool // tracked and not closing
	out, in map[correlator.Tuple]correlator.Addr
	natMap  *correlator.Map
	snat    correlator.Addr
}

func newNode() *node {
	return &node{ct: map[correlator.Tuple]bool{}, out: map[correlator.Tuple]correlator.Addr{}, in: map[correlator.Tuple]correlator.Addr{}}
}

func (n *node) entries(d correlator.Dir) map[correlator.Tuple]correlator.Addr {
	if d == correlator.In {
		return n.in
	}
	return n.out
}

// value adds what a deleted entry held, which the recordings do not have and
// the kernel's side tells.
func (n *node) value(ev *correlator.Event) {
	if ev.Kind == correlator.KindNAT && ev.NAT.Op == correlator.Delete && !ev.NAT.Map.CT {
		ev.NAT.To = n.entries(ev.NAT.Dir)[ev.Tuple]
	}
}

// see follows what the maps hold.
func (n *node) see(ev *correlator.Event) {
	switch {
	case ev.Kind == correlator.KindFlow && ev.Flow.Flags&(correlator.FIN|correlator.RST) != 0:
		tuple := ev.Tuple
		if ev.Flow.Point == correlator.ToEndpoint {
			tuple = tuple.Reverse()
		}
		delete(n.ct, tuple)
	case ev.Kind != correlator.KindNAT || ev.NAT.Errno != 0 || ev.NAT.Op == correlator.Replaced:
	case ev.NAT.Map.CT && ev.NAT.Dir == correlator.Out:
		if ev.NAT.Op == correlator.Insert {
			n.ct[ev.Tuple] = true
		} else {
			delete(n.ct, ev.Tuple)
		}
	case ev.NAT.Map.CT:
	default:
		entries := n.entries(ev.NAT.Dir)
		if ev.NAT.Op == correlator.Insert && ev.NAT.Dir == correlator.Out && ev.NAT.To.IP != ev.Tuple.Src.IP {
			n.natMap, n.snat = ev.NAT.Map, ev.NAT.To
		}
		if ev.NAT.Op == correlator.Insert {
			entries[ev.Tuple] = ev.NAT.To
		} else {
			delete(entries, ev.Tuple)
		}
	}
}

// missing returns what the agent finds in the maps when it starts.
func (n *node) missing(at int64) (all []correlator.Event) {
	tell := func(tuple correlator.Tuple, d correlator.Dir, to correlator.Addr) {
		all = append(all, correlator.Event{Time: at, Kind: correlator.KindNAT, Tuple: tuple,
			NAT: correlator.NATChange{Op: correlator.Missing, Dir: d, To: to, Map: n.natMap, KTime: uint64(at)}})
	}
	twins := map[correlator.Tuple]correlator.Addr{}
	for key, pod := range n.in {
		twins[correlator.Tuple{Src: pod, Dst: key.Src, Protocol: key.Protocol}] = key.Dst
	}
	for tuple := range n.ct {
		out, hasOut := n.out[tuple]
		in, hasIn := twins[tuple]
		guess := correlator.Addr{IP: n.snat.IP, Port: tuple.Src.Port}
		_, taken := n.in[correlator.Tuple{Src: tuple.Dst, Dst: guess, Protocol: tuple.Protocol}]
		switch {
		case hasOut && hasIn:
		case hasIn:
			tell(tuple, correlator.Out, in)
		case hasOut:
			tell(correlator.Tuple{Src: tuple.Dst, Dst: out, Protocol: tuple.Protocol}, correlator.In, tuple.Src)
		case !taken:
			tell(tuple, correlator.Out, guess)
			tell(correlator.Tuple{Src: tuple.Dst, Dst: guess, Protocol: tuple.Protocol}, correlator.In, tuple.Src)
		}
	}
	return all
}

// TestRestart starts an agent inside of recordings: what breaks after that is
// named, although its entry went before. Of flows it has those that Hubble's
// ring still holds, or none before the start.
func TestRestart(t *testing.T) {
	for _, dir := range append(slices.Clone(recordings), late) {
		tr, all := readTruth(t, dir), eventsOf(t, dir)
		whole := named(t, all)
		var hits, wrongs int
		first, last := whole[0].Time, whole[len(whole)-1].Time
		for _, part := range []time.Duration{0, 1, 2, 3, 4, 5, 6, 7, 8, 9} {
			start := first.Add(last.Sub(first) * part / 10).UnixNano()
			for _, ring := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%d0%%/ring=%v", filepath.Base(dir), part, ring), func(t *testing.T) {
					n := newNode()
					var before, after []correlator.Event
					for i := range all {
						ev := all[i]
						if ev.Time >= start && after == nil {
							after = n.missing(start)
						}
						n.value(&ev)
						n.see(&ev)
						if ev.Time >= start {
							after = append(after, ev)
						} else if ring && ev.Kind != correlator.KindNAT {
							before = append(before, ev)
						}
					}
					events := withhold(slices.Concat(before, after))
					want, got := map[string]bool{}, map[string]bool{}
					for _, i := range whole {
						if i.Time.UnixNano() > start {
							want[connection(i)] = true
						}
					}
					incidents := named(t, events)
					for _, i := range incidents {
						got[connection(i)] = true
					}
					_, _, wrong := tr.score(incidents)
					missed := 0
					for c := range want {
						if !got[c] {
							missed++
							t.Logf("missed %s", c)
						}
					}
					t.Logf("%d of %d named, %d wrong", len(want)-missed, len(want), wrong)
					if missed > 0 {
						t.Errorf("%d missed", missed)
					}
					hits, wrongs = hits+len(incidents)-wrong, wrongs+wrong
				})
			}
		}
		if precision := float64(hits) / float64(hits+wrongs); precision < 0.99 {
			t.Errorf("%s: precision %.3f must be 0.99", filepath.Base(dir), precision)
		}
	}
}
