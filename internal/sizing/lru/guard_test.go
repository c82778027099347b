// SPDX-License-Identifier: Apache-2.0

package lru

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/renat-project/renat/internal/sizing"
)

// TestTouchEvery keeps a quarter of the usable entries of modelled maps by
// looking them up no more often than TouchEvery says, and from TouchFrom on,
// while 20 times the map is inserted; without it all of them go.
func TestTouchEvery(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Entries: 512, CPUs: 2}, {Entries: 4096, CPUs: 1}, {Entries: 4096, CPUs: 2}, {Entries: 4096, CPUs: 64},
		{Entries: 32_768, CPUs: 8}, {Entries: 32_768, CPUs: 96},
		{Entries: 512, CPUs: 2, Distributed: true}, {Entries: 4096, CPUs: 16, Distributed: true}, {Entries: 32_768, CPUs: 64, Distributed: true},
	} {
		all := []Config{c}
		if !c.Distributed {
			newer := c
			newer.FreeTarget = FreeTarget(c.Entries, c.CPUs)
			all = append(all, newer)
			if c.CPUs*MaxFreeTarget > c.Entries/2 {
				all = all[1:] // older kernels have fewer usable entries than a quarter is told of
			}
		}
		for _, c := range all {
			t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
				t.Parallel()
				keep := uint32(sizing.Usable(c.Entries, c.CPUs, c.Distributed) / 4)
				if kept := survivors(t, c, keep, true); kept != keep {
					t.Errorf("%d of %d entries were kept", kept, keep)
				}
				if kept := survivors(t, c, keep, false); kept != 0 {
					t.Errorf("%d of %d entries stayed by themselves", kept, keep)
				}
			})
		}
	}
}

// survivors returns how many entries of the first keep even keys are in the map
// after churn.
func survivors(t *testing.T, c Config, keep uint32, guarded bool) (kept uint32) {
	t.Helper()
	m, err := New(c, func(uint32, bool) {})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, uint64(c.Entries*c.CPUs)))
	every := sizing.TouchEvery(c.Entries, c.CPUs, c.Distributed)
	pops := make([]int, c.CPUs)
	for key := range uint32(20 * c.Entries) {
		cpu := random.IntN(c.CPUs)
		m.Update(cpu, key)
		if m.Len() < sizing.TouchFrom(c.Entries, c.CPUs, c.Distributed) {
			continue
		}
		if !c.Distributed {
			cpu = 0
		}
		pops[cpu]++
		if guarded && pops[cpu] >= every {
			clear(pops)
			for n := range min(keep, key/2+1) {
				m.Lookup(2 * n)
			}
		}
	}
	for n := range keep {
		if m.Has(2 * n) {
			kept++
		}
	}
	return kept
}
