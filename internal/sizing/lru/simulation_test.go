// SPDX-License-Identifier: Apache-2.0

package lru

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/sizing"
)

// random makes up a workload.
func random(seed uint64) workload {
	rng := rand.New(rand.NewPCG(seed, 50))
	return workload{
		seed: seed, cpus: 1 << rng.IntN(6), distributed: seed%4 == 3,
		live: 20 + rng.IntN(3000), gap: 10 + 600*rng.Float64()*rng.Float64(), hotShare: rng.Float64(),
		rate: 10 + 150*rng.Float64(), life: 5 * rng.Float64(), packets: rng.IntN(12),
		timeout: 5 + 25*rng.Float64(), collect: 10 + 110*rng.Float64(),
	}
}

// measure is what an agent would know of the workload: of a node that evicts,
// what is open and what comes; of one that does not, also the peak.
func (w workload) measure(t *testing.T, seconds float64, evicting bool) sizing.Measured {
	t.Helper()
	o := w.run(t, 1<<20, seconds)
	if o.evictions > 0 || o.broken > 0 {
		t.Fatalf("a map of %d entries is too small to measure by", 1<<20)
	}
	m := sizing.Measured{Inserts: o.inserts, Evicting: evicting, Gap: time.Duration(w.gap * float64(time.Second))}
	if evicting {
		// Short connections are open, too, while they last.
		m.Live = float64(2*w.live) + o.inserts*w.life
	} else {
		m.Peak = float64(o.peak)
	}
	return m
}

// TestAdvisedSize simulates 50 random workloads on a map of the advised size,
// and on one of half that.
func TestAdvisedSize(t *testing.T) {
	broke := 0
	for seed := range uint64(50) {
		w := random(seed)
		seconds := 3 * max(w.gap, w.collect+w.timeout)
		m := w.measure(t, seconds, seed%2 == 0)
		a := sizing.Advise(sizing.Node{
			Map: "cilium_snat_v4_external", MaxEntries: 1024, Distributed: w.distributed, CPUs: w.cpus, Measured: m,
		}, sizing.Settings{
			GCInterval: time.Duration(w.collect * float64(time.Second)),
			FINTimeout: time.Duration(w.timeout * float64(time.Second)), AnyTimeout: time.Second,
		})
		whole, half := w.run(t, a.Entries, seconds), w.run(t, a.Entries/2, seconds)
		t.Logf("%+v: %d entries advised, %d and %d of %d broken, half might do %t", w, a.Entries, whole.broken, half.broken, half.conns, a.HalfMightDo)
		if few := whole.conns / 100_000; whole.broken > few {
			t.Errorf("workload %d: %d of %d connections broke with the advised %d entries: %q", seed, whole.broken, whole.conns, a.Entries, a.Steps)
		}
		if half.broken > half.conns/100_000 {
			broke++
		} else if !a.HalfMightDo {
			t.Errorf("workload %d: half of %d entries is enough, and the advice does not say so: %q", seed, a.Entries, a.Reasons)
		}
	}
	t.Logf("half of the advised size broke connections of %d workloads", broke)
	if broke < 25 {
		t.Errorf("half of the advised size broke connections of only %d in 50 workloads: the advice is far too large", broke)
	}
}

// TestSteadyEvictionClogs shows why the advice is never to evict: a map that
// serves well for a while takes entries in use later, with nothing changed.
func TestSteadyEvictionClogs(t *testing.T) {
	w := workload{
		seed: 4, cpus: 1, live: 100, gap: 20, hotShare: 0.1,
		rate: 190, life: 4, packets: 20, timeout: 10, collect: 1e9,
	}
	const entries, filled = 20_000, 20_000 / (2 * 190)
	early, late := w.run(t, entries, 2*filled), w.run(t, entries, 8*filled)
	if early.evictions == 0 || early.broken > early.conns/100 {
		t.Errorf("in the beginning %d of %d connections broke, with %d evictions", early.broken, early.conns, early.evictions)
	}
	if broken, conns := late.broken-early.broken, late.conns-early.conns; broken < conns/10 {
		t.Errorf("later %d of %d connections broke", broken, conns)
	} else {
		t.Logf("%d of %d broke early, %d of %d later", early.broken, early.conns, broken, conns)
	}
}
