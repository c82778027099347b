// SPDX-License-Identifier: Apache-2.0

package lru

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/renat-project/renat/internal/sizing"
)

// TestEvictsFrom fills modelled maps until they evict.
func TestEvictsFrom(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Entries: 1024, CPUs: 1}, {Entries: 1024, CPUs: 2}, {Entries: 1024, CPUs: 64},
		{Entries: 20_000, CPUs: 8}, {Entries: 131_072, CPUs: 96}, {Entries: 131_072, CPUs: 256},
		{Entries: 20_000, CPUs: 8, Distributed: true}, {Entries: 131_072, CPUs: 64, Distributed: true},
	} {
		if !c.Distributed {
			c.FreeTarget = FreeTarget(c.Entries, c.CPUs)
		}
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			from := sizing.EvictsFrom(c.Entries, c.CPUs, c.Distributed)
			first := fill(t, c)
			if first < from {
				t.Errorf("the map evicts from %d entries on, sooner than from %d", first, from)
			}
			if from < c.Entries/2 {
				t.Errorf("from %d of %d entries on is too careful", from, c.Entries)
			}
			t.Logf("from %d entries on, really %d of %d", from, first, c.Entries)
		})
	}
}

// fill inserts keys from CPUs by chance and returns how many were in the map
// when the first was evicted.
func fill(t *testing.T, c Config) (first int) {
	var m *Map
	random := rand.New(rand.NewPCG(1, uint64(c.Entries*c.CPUs)))
	m, err := New(c, func(uint32, bool) {
		if first == 0 {
			first = m.Len()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := uint32(0); first == 0; key++ {
		m.Update(random.IntN(c.CPUs), key)
	}
	return first
}
