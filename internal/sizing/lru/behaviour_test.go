// SPDX-License-Identifier: Apache-2.0

package lru

import (
	"errors"
	"math/rand/v2"
	"testing"
)

func newMap(t testing.TB, c Config, evicted func(uint32, bool)) *Map {
	t.Helper()
	m, err := New(c, evicted)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestBeginsToEvict inserts on one CPU until something goes.
func TestBeginsToEvict(t *testing.T) {
	for _, c := range []struct {
		name  string
		lru   Config
		after int // inserts without an eviction
		batch int // evicted by the next one
	}{
		{"one CPU", Config{Entries: 1024, CPUs: 1}, 1024, 128},
		{"the other CPUs have taken nothing", Config{Entries: 1024, CPUs: 4}, 1024, 128},
		{"smaller batches", Config{Entries: 100, CPUs: 2, FreeTarget: FreeTarget(100, 2)}, 100, 25},
		{"distributed", Config{Entries: 1024, CPUs: 4, Distributed: true}, 256, 4},
		{"distributed, rounded up", Config{Entries: 1001, CPUs: 4, Distributed: true}, 251, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			evicted := 0
			m := newMap(t, c.lru, func(uint32, bool) { evicted++ })
			for key := range uint32(c.after) {
				if m.Update(0, key); evicted > 0 {
					t.Fatalf("insert %d: %d evicted", key, evicted)
				}
			}
			if m.Update(0, uint32(c.after)); evicted != c.batch {
				t.Errorf("%d evicted, want %d", evicted, c.batch)
			}
			if want := c.after + 1 - c.batch; m.Len() != want {
				t.Errorf("%d entries, want %d", m.Len(), want)
			}
		})
	}
}

// TestFreeEntriesOfOtherCPUs: what each CPU has taken for itself is missing.
func TestFreeEntriesOfOtherCPUs(t *testing.T) {
	const entries, cpus = 4096, 8
	evicted, key := 0, uint32(0)
	m := newMap(t, Config{Entries: entries, CPUs: cpus}, func(uint32, bool) { evicted++ })
	for cpu := range cpus {
		m.Update(cpu, key)
		key++
	}
	for ; evicted == 0; key++ {
		m.Update(0, key)
	}
	if got, want := int(key-1), entries-(cpus-1)*(MaxFreeTarget-1); got != want {
		t.Errorf("the first eviction came with %d entries, want %d", got, want)
	}
}

func TestUsedEntriesStay(t *testing.T) {
	for _, distributed := range []bool{false, true} {
		forced := 0
		gone := map[uint32]bool{}
		m := newMap(t, Config{Entries: 2048, CPUs: 2, Distributed: distributed}, func(key uint32, f bool) {
			gone[key] = true
			if f {
				forced++
			}
		})
		for key := range uint32(100_000) {
			m.Update(int(key%2), key)
			if key%100 == 99 {
				for hot := range uint32(64) {
					m.Lookup(hot)
				}
			}
		}
		for hot := range uint32(64) {
			if !m.Has(hot) {
				t.Errorf("distributed %t: entry %d in use was evicted", distributed, hot)
			}
		}
		if forced != 0 || len(gone)+m.Len() != 100_000 {
			t.Errorf("distributed %t: %d forced, %d evicted, %d there", distributed, forced, len(gone), m.Len())
		}
	}
}

func TestForced(t *testing.T) {
	forced := 0
	m := newMap(t, Config{Entries: 256, CPUs: 1}, func(_ uint32, f bool) {
		if f {
			forced++
		}
	})
	for key := range uint32(10_000) {
		m.Update(0, key)
		for used := range key + 1 {
			m.Lookup(used)
		}
	}
	if forced == 0 {
		t.Error("all entries are in use, and none was evicted by force")
	}
}

func TestInsertOfAnExistingKey(t *testing.T) {
	m := newMap(t, Config{Entries: 256, CPUs: 1}, func(uint32, bool) {})
	if err := m.Insert(0, 7); err != nil {
		t.Fatal(err)
	}
	if err := m.Insert(0, 7); !errors.Is(err, ErrExists) || m.Len() != 1 {
		t.Errorf("%v, %d entries", err, m.Len())
	}
	if !m.Delete(7) || m.Delete(7) || m.Has(7) || m.Lookup(7) || m.Len() != 0 {
		t.Error("the entry was not deleted, or twice")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{}, {Entries: 1}, {CPUs: 1}, {Entries: 1, CPUs: 1 << 20}, {Entries: 1 << 31, CPUs: 1}} {
		if _, err := New(c, nil); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// TestKeepsCount compares with a set while everything happens at random.
func TestKeepsCount(t *testing.T) {
	for _, c := range []Config{
		{Entries: 300, CPUs: 4}, {Entries: 5000, CPUs: 3}, {Entries: 5000, CPUs: 3, Distributed: true}, {Entries: 3, CPUs: 3},
	} {
		set := map[uint32]bool{}
		m := newMap(t, c, func(key uint32, _ bool) {
			if !set[key] {
				t.Fatalf("%+v: %d was evicted and was not there", c, key)
			}
			delete(set, key)
		})
		rng := rand.New(rand.NewPCG(7, 7))
		for step := range 200_000 {
			key := rng.Uint32N(uint32(3 * c.Entries))
			switch rng.IntN(4) {
			case 0:
				if m.Delete(key) != set[key] {
					t.Fatalf("%+v, step %d: delete of %d", c, step, key)
				}
				delete(set, key)
			case 1:
				if m.Lookup(key) != set[key] {
					t.Fatalf("%+v, step %d: lookup of %d", c, step, key)
				}
			default:
				m.Update(rng.IntN(c.CPUs), key)
				set[key] = true
			}
			if m.Len() != len(set) {
				t.Fatalf("%+v, step %d: %d entries, want %d", c, step, m.Len(), len(set))
			}
		}
	}
}

// BenchmarkUpdate evicts all the time.
func BenchmarkUpdate(b *testing.B) {
	m := newMap(b, Config{Entries: 131_072, CPUs: 8}, func(uint32, bool) {})
	key := uint32(0)
	for b.Loop() {
		m.Update(int(key/64%8), key%1_000_000)
		m.Lookup(key % 1_000_000 / 2)
		key++
	}
}
