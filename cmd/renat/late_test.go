// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/recording"
)

// late was recorded on a busy machine: Hubble's stamps trail the kernel's by
// 285 ms in the median and 3.3 s at p99, and each CPU's by another.
const late = "../../internal/recording/testdata/cilium-1.15.19-late"

// eventsOf returns a recording's events in order of time.
func eventsOf(t *testing.T, dir string) (all []correlator.Event) {
	t.Helper()
	rec, err := recording.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	bad := &recording.BadLines{}
	if err := merge(t.Context(), func(ev *correlator.Event) { all = append(all, *ev) },
		rec.NAT(bad), &recordedFlows{rec: rec, bad: bad, log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	return all
}

// entry is a key that the kernel's filter remembers: the side on the node and
// the server.
type entry struct{ local, server correlator.Addr }

// withhold leaves out the inserts that the kernel's filter does not send to a
// live agent: those of connections that lost no entry before.
func withhold(events []correlator.Event) (kept []correlator.Event) {
	lost := map[entry]bool{}
	for _, ev := range events {
		if ev.Kind != correlator.KindNAT {
			kept = append(kept, ev)
			continue
		}
		keys := []entry{{ev.Tuple.Src, ev.Tuple.Dst}}
		server := ev.Tuple.Dst
		if ev.NAT.Dir == correlator.In {
			keys[0], server = entry{ev.Tuple.Dst, ev.Tuple.Src}, ev.Tuple.Src
		}
		if !ev.NAT.To.IsZero() && !ev.NAT.Map.CT {
			keys = append(keys, entry{ev.NAT.To, server})
		}
		if ev.NAT.Op != correlator.Insert {
			for _, k := range keys {
				lost[k] = true
			}
		} else if !slices.ContainsFunc(keys, func(k entry) bool { return lost[k] }) {
			continue
		}
		kept = append(kept, ev)
	}
	return kept
}

// delayed has Hubble stamp every flow later.
func delayed(events []correlator.Event, by time.Duration) []correlator.Event {
	all := slices.Clone(events)
	for i := range all {
		if all[i].Kind != correlator.KindNAT {
			all[i].Time += int64(by)
		}
	}
	slices.SortStableFunc(all, func(a, b correlator.Event) int { return int(a.Time - b.Time) })
	return all
}

// named returns the incidents of events.
func named(t *testing.T, events []correlator.Event) (all []*incident.Incident) {
	t.Helper()
	c, err := correlator.New(correlator.Config{Node: "node-a"}, func(i *incident.Incident) { all = append(all, i) })
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		c.Observe(&events[i])
	}
	c.Flush()
	return all
}

// TestLateHubble has Hubble's stamps trail the kernel's, as a live agent meets
// them: without the inserts that the kernel's filter withholds.
func TestLateHubble(t *testing.T) {
	for _, dir := range append(slices.Clone(recordings), late) {
		tr, all := readTruth(t, dir), eventsOf(t, dir)
		for _, withheld := range []bool{false, true} {
			events := all
			if withheld {
				events = withhold(all)
			}
			for _, lag := range []time.Duration{0, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second} {
				t.Run(fmt.Sprintf("%s/withheld=%v/%v", filepath.Base(dir), withheld, lag), func(t *testing.T) {
					broken, hit, wrong := tr.score(named(t, delayed(events, lag)))
					recall, precision := float64(hit)/float64(broken), float64(hit)/float64(max(1, hit+wrong))
					t.Logf("recall %.3f, precision %.3f: %d broken, %d named, %d wrong", recall, precision, broken, hit, wrong)
					if recall < 1 || precision < 0.99 || lag == 0 && wrong > 0 {
						t.Errorf("recall must be 1 and precision 0.99, without more lag than was 1")
					}
					broken, hit, wrong = 0, 0, 0
					const runs = 5
					for seed := range uint64(runs) {
						rng := rand.New(rand.NewPCG(seed, 1))
						lossy := slices.DeleteFunc(delayed(events, lag), func(ev correlator.Event) bool {
							return ev.Kind == correlator.KindFlow && rng.Float64() < 0.3
						})
						b, h, w := tr.score(named(t, lossy))
						broken, hit, wrong = broken+b, hit+h, wrong+w
					}
					recall, precision = float64(hit)/float64(broken), float64(hit)/float64(max(1, hit+wrong))
					t.Logf("without 30 %% of the flows: recall %.3f, precision %.3f over %d runs", recall, precision, runs)
					if recall < 0.99 || precision < 0.97 {
						t.Errorf("without 30 %% of the flows recall must be 0.99 and precision 0.97")
					}
				})
			}
		}
	}
}
