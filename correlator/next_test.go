// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// TestNextMissesNothing lets time pass for one correlator every millisecond, and
// for another only when it asks for it: both say the same at the same time.
func TestNextMissesNothing(t *testing.T) {
	said, often, seldom := map[incident.Kind]int{}, 0, 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		behind := []time.Duration{0, 100 * time.Millisecond, 3 * time.Second, 8 * time.Second}[seed%4]
		var arrivals []arrival
		for _, ev := range withLongWaits(rng, randomHistory(rng, 200)) {
			at := ev.Time + rng.Int64N(int64(15*time.Millisecond))
			if ev.Kind == correlator.KindFlow {
				at = ev.Time + int64(behind)
			}
			arrivals = append(arrivals, arrival{at, &ev})
		}
		slices.SortStableFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
		want, n := sayings(t, arrivals, func(*correlator.Correlator, int64) bool { return true })
		got, m := sayings(t, arrivals, func(c *correlator.Correlator, now int64) bool { return now >= c.Next() })
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: when due it said %v, want %v", seed, got, want)
		}
		often, seldom = often+n, seldom+m
		for _, s := range want {
			said[s.kind]++
		}
	}
	if said[incident.Renat] < 20 || said[incident.NoPort] < 50 || said[incident.MapReplacement] < 3 || seldom > often/4 {
		t.Errorf("said %v; %d advances of %d", said, seldom, often)
	}
}

// withLongWaits makes some events what is told of a minute later: openings that
// find no port, and maps that are replaced under two connections.
func withLongWaits(rng *rand.Rand, events []correlator.Event) (all []correlator.Event) {
	m := &correlator.Map{Name: "cilium_snat_v4_external", MaxEntries: 8}
	for _, ev := range events {
		at := ev.Time
		switch rng.IntN(60) {
		case 0, 1, 2:
			ev = correlator.Event{
				Time: at, Kind: correlator.KindFlow,
				Tuple: correlator.Tuple{Src: addr(10, 1, uint16(40000+rng.IntN(9))), Dst: addr(192, rng.IntN(2), 443), Protocol: correlator.TCP},
				Flow:  correlator.Flow{Point: correlator.Dropped, Flags: correlator.SYN, DropReason: 167},
			}
		case 3:
			ev = correlator.Event{Time: at, Kind: correlator.KindNAT, NAT: correlator.NATChange{Op: correlator.Replaced, Map: m, KTime: uint64(at)}}
			for pod := range 2 {
				tuple := correlator.Tuple{Src: addr(10, pod, uint16(41000+len(all))), Dst: addr(192, 0, 443), Protocol: correlator.TCP}
				mapped := func(at int64, port int) correlator.Event {
					change := correlator.NATChange{Op: correlator.Insert, Map: m, To: addr(172, 0, uint16(port)), KTime: uint64(at)}
					return correlator.Event{Time: at, Kind: correlator.KindNAT, Tuple: tuple, NAT: change}
				}
				shown := correlator.Event{Time: at - 1, Kind: correlator.KindFlow, Tuple: tuple, Flow: correlator.Flow{Point: correlator.ToStack, Reason: correlator.ReasonEstablished, Flags: correlator.ACK}}
				all = append(all, mapped(at-2, 30000+pod), shown, mapped(at+1, 50000+pod))
			}
		}
		all = append(all, ev)
	}
	return all
}

type saying struct {
	after time.Duration // since start
	kind  incident.Kind
	id    string
}

// sayings returns what is said and when, with time passing when due says, and how
// often that was.
func sayings(t *testing.T, arrivals []arrival, due func(*correlator.Correlator, int64) bool) (all []saying, advances int) {
	t.Helper()
	var now int64
	c := newCorrelator(t, correlator.Config{Settle: testSettle, Hold: 20 * time.Millisecond, Patience: 5 * time.Second}, func(i *incident.Incident) {
		all = append(all, saying{time.Duration(now - start), i.Kind, i.ID})
	})
	last := arrivals[len(arrivals)-1].at + int64(90*time.Second)
	for now = start; now < last; now += int64(time.Millisecond) {
		for len(arrivals) > 0 && arrivals[0].at < now {
			c.Advance(now - 1)
			c.Observe(arrivals[0].ev)
			arrivals = arrivals[1:]
		}
		if due(c, now) {
			c.KernelRead(now)
			c.Advance(now)
			advances++
		}
	}
	if c.Next() < last {
		t.Error("something is due still")
	}
	return all, advances
}
