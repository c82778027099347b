// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// look finds new, replaced and removed maps, reports losses and makes a survey
// if one is due; now is Unix time.
func (t *Tracer) look(now int64, emit func(correlator.Event)) error {
	found, err := findMaps(t.config.BPFFS)
	var layout *LayoutError
	if errors.As(err, &layout) {
		return err
	}
	t.mu.Lock()
	t.findErr, t.unnamed, t.left = err, t.callers.err, 0
	t.mu.Unlock()
	if err == nil {
		if err := t.retireAbsent(found); err != nil {
			closeMaps(found)
			return err
		}
	}
	// Should there be too many, those that no verdict needs are left out.
	slices.SortStableFunc(found, func(a, b *cilium) int { return compareBools(a.PerCluster(), b.PerCluster()) })
	for i, m := range found {
		if err := t.watch(m); err != nil {
			closeMaps(found[i:])
			return err
		}
		if m.Was != 0 {
			emit(correlator.Event{Time: now, Kind: correlator.KindNAT,
				NAT: correlator.NATChange{Op: correlator.Replaced, Map: m.Map}})
		}
	}
	t.mu.Lock()
	t.looks++
	t.mu.Unlock()
	t.forgetRetired(t.CaughtUp())
	if err := t.reportLoss(now, emit); err != nil {
		return err
	}
	if t.due || t.doubt && time.Since(t.surveyed) >= surveyEvery {
		err := t.survey(emit)
		t.due, t.doubt, t.surveyed = false, false, time.Now()
		t.mu.Lock()
		t.blind = err
		t.mu.Unlock()
	}
	if time.Since(t.followed) >= timeoutsEvery {
		err := t.followTimeouts()
		t.followed = time.Now()
		t.mu.Lock()
		t.unfollowed = err
		t.mu.Unlock()
	}
	return nil
}

// compareBools puts false before true.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// watch begins to watch a map and ends it for the one it replaces. It owns m,
// unless it fails.
func (t *Tracer) watch(m *cilium) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watching[m.ID] != nil {
		m.fd.Close()
		return nil
	}
	was := t.gone[m.Name]
	if len(t.free) == 0 {
		old := t.yields(m)
		if old == nil {
			t.left++
			m.fd.Close()
			return nil
		}
		if old.Name == m.Name {
			was = old.MaxEntries
		}
		if err := t.retire(old); err != nil {
			return err
		}
	}
	m.slot, t.free = t.free[0], t.free[1:]
	if err := t.program(m); err != nil {
		t.free = append(t.free, m.slot)
		return err
	}
	t.watching[m.ID] = m
	t.due = t.due || !m.PerCluster()
	delete(t.gone, m.Name)
	for id, old := range t.watching {
		if old.Name != m.Name || id == m.ID {
			continue
		}
		was = old.MaxEntries
		if err := t.retire(old); err != nil {
			return err
		}
	}
	m.Was = was
	return nil
}

// yields returns the map whose place m takes when there is none left: the one it
// replaces, or else, unless m is such a map itself, any of another cluster's.
// t.mu is held.
func (t *Tracer) yields(m *cilium) (other *cilium) {
	for _, old := range t.watching {
		if old.Name == m.Name {
			return old
		}
		if old.PerCluster() && !m.PerCluster() {
			other = old
		}
	}
	return other
}

// retire ends to watch a map; t.mu is held.
func (t *Tracer) retire(old *cilium) error {
	if err := errors.Join(t.kernel.places.remove(old.ID), t.kernel.ahead.remove(old)); err != nil {
		return fmt.Errorf("leaving map %s: %w", old.Name, err)
	}
	counted, err := t.counters(old)
	if err != nil {
		return err
	}
	t.past.add(counted)
	old.left = uint64(monotonicClock())
	delete(t.watching, old.ID)
	t.retired[old.ID] = old
	t.free = append(t.free, old.slot)
	old.fd.Close()
	return nil
}

// lateMax is how long after a map was left an event of it may be sent, by a
// program that ran meanwhile.
const lateMax = 10 * time.Second

// forgetRetired forgets the maps of which no event can come, when all is emitted
// that was sent before caughtUp of the monotonic clock.
func (t *Tracer) forgetRetired(caughtUp uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.retired, func(_ uint32, m *cilium) bool { return caughtUp > m.left+uint64(lateMax) })
}

// absentMax is how many looks in a row must not find a map that is watched, for
// it to be let go: the descriptor keeps its memory.
const absentMax = 5

// retireAbsent lets maps go that Cilium removed without a successor.
func (t *Tracer) retireAbsent(found []*cilium) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, m := range t.watching {
		if slices.ContainsFunc(found, func(f *cilium) bool { return f.ID == id }) {
			m.absent = 0
			continue
		}
		if m.absent++; m.absent < absentMax {
			continue
		}
		if err := t.retire(m); err != nil {
			return err
		}
		t.gone[m.Name] = m.MaxEntries
	}
	return nil
}

// program tells the kernel side to watch a map, its counters at zero.
func (t *Tracer) program(m *cilium) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("watching map %s: %w", m.Name, err)
	}
	if err := t.kernel.collection.Maps[watchMapCounts].Put(m.slot, make([]watchCounters, cpus)); err != nil {
		return fmt.Errorf("watching map %s: %w", m.Name, err)
	}
	if err := t.kernel.ahead.add(m); err != nil {
		return err
	}
	w := watchWatched{Map: m.ID, Slot: uint8(m.slot), Family: 4}
	if m.v6 {
		w.Family = 6
	}
	if m.CT {
		w.Ct = 1
	}
	if err := t.kernel.places.add(w); err != nil {
		return fmt.Errorf("watching map %s: %w", m.Name, err)
	}
	return nil
}
