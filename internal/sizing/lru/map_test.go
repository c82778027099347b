// SPDX-License-Identifier: Apache-2.0

package lru

import (
	"errors"
	"fmt"
)

const (
	// MaxFreeTarget is the most free entries that a CPU takes at once from the
	// common lists (kernel/bpf/bpf_lru_list.c: LOCAL_FREE_TARGET).
	MaxFreeTarget = 128
	// distributedTarget is the same for lists of one CPU (PERCPU_FREE_TARGET).
	distributedTarget = 4
)

// ErrExists says that the key is in the map already: the kernel's EEXIST.
var ErrExists = errors.New("the key exists")

// Config describes a map.
type Config struct {
	Entries int // max_entries; rounded to a multiple of CPUs when Distributed
	CPUs    int // possible ones
	// Distributed is BPF_F_NO_COMMON_LRU.
	Distributed bool
	// FreeTarget is how many free entries a CPU takes at once: MaxFreeTarget
	// if 0, which is right for most kernels; FreeTarget(Entries, CPUs) for the
	// others. Distributed maps have a smaller one always.
	FreeTarget int
}

// FreeTarget is what newer kernels use: those with a member target_free in
// struct bpf_lru.
func FreeTarget(entries, cpus int) int {
	return min(max(entries/cpus/2, 1), MaxFreeTarget)
}

// Map is the model of one map. Keys are numbers that index a table, so keep
// them small.
type Map struct {
	lists
	byKey   []int32 // node + 1 of a key; 0: not in the map
	entries int
	evicted func(key uint32, forced bool)

	shards []shard // one, or one a CPU when distributed
	locals []local // one a CPU; none when distributed
	target int     // free entries to take at once
	scans  int     // nodes to look at when ageing
}

// New returns an empty map. evicted is called for each entry that is evicted,
// inside the Update that needed its place; forced says that the entry had been
// in recent use. It must not call the map.
func New(c Config, evicted func(key uint32, forced bool)) (*Map, error) {
	if c.CPUs < 1 || c.CPUs > 1<<16 || c.Entries < 1 || c.Entries > 1<<30 {
		return nil, fmt.Errorf("an LRU map of %d entries on %d CPUs cannot be modelled", c.Entries, c.CPUs)
	}
	m := &Map{evicted: evicted, target: MaxFreeTarget}
	if c.FreeTarget > 0 {
		m.target = c.FreeTarget
	}
	m.scans = MaxFreeTarget
	n, shards := c.Entries, 1
	if c.Distributed {
		m.target, m.scans, shards = distributedTarget, distributedTarget, c.CPUs
		n = (n + shards - 1) / shards * shards
	}
	m.init(n, 3*shards+2*c.CPUs)
	for s := range shards {
		m.shards = append(m.shards, m.newShard())
		for i := s * (n / shards); i < (s+1)*(n/shards); i++ {
			m.nodes[i].cpu, m.nodes[i].on = uint16(s), free
			m.pushFront(m.shards[s].heads[free], int32(i))
		}
	}
	for cpu := range c.CPUs {
		if !c.Distributed {
			m.locals = append(m.locals, local{free: m.newHead(), pending: m.newHead(), steal: cpu})
		}
	}
	return m, nil
}

// Len returns the number of entries.
func (m *Map) Len() int { return m.entries }

// Has reports whether key is in the map, without touching it, as bpf(2) does.
func (m *Map) Has(key uint32) bool { return m.node(key) >= 0 }

// Lookup does what a BPF program's lookup does: it marks the entry as used.
func (m *Map) Lookup(key uint32) bool {
	i := m.node(key)
	if i < 0 {
		return false
	}
	m.nodes[i].ref = true
	return true
}

// Update inserts or overwrites an entry on a CPU. It always finds a place: the
// kernel's ENOMEM needs CPUs that race.
func (m *Map) Update(cpu int, key uint32) {
	i := m.pop(cpu)
	old := m.node(key)
	m.set(key, i)
	if old >= 0 {
		m.nodes[i].ref = true
		m.push(old)
	}
}

// Insert is Update with BPF_NOEXIST: ErrExists if the key is there. Like the
// kernel it takes a free entry first, and so may evict even then.
func (m *Map) Insert(cpu int, key uint32) error {
	i := m.pop(cpu)
	if m.Has(key) {
		m.push(i)
		return ErrExists
	}
	m.set(key, i)
	return nil
}

// Delete removes an entry, and reports whether there was one.
func (m *Map) Delete(key uint32) bool {
	i := m.node(key)
	if i < 0 {
		return false
	}
	m.byKey[key] = 0
	m.entries--
	m.push(i)
	return true
}

// node returns the node of a key, or -1.
func (m *Map) node(key uint32) int32 {
	if int(key) >= len(m.byKey) {
		return -1
	}
	return m.byKey[key] - 1
}

// set makes node i the entry of key.
func (m *Map) set(key uint32, i int32) {
	if n := int(key) + 1; n > len(m.byKey) {
		m.byKey = append(m.byKey, make([]int32, n-len(m.byKey))...)
	}
	if m.byKey[key] == 0 {
		m.entries++
	}
	m.nodes[i].key = key
	m.byKey[key] = i + 1
}

// unlink takes the entry of a node out of the map to make room.
func (m *Map) unlink(i int32) {
	n := &m.nodes[i]
	m.byKey[n.key] = 0
	m.entries--
	m.evicted(n.key, n.on == active || n.ref)
}
