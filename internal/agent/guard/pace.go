// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"time"

	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/kprobes"
)

// How often it is looked whether a run is due: a few times between two runs.
const (
	looks   = 4
	fastest = 5 * time.Millisecond
	slowest = 250 * time.Millisecond
)

// pace tells when a run is due: the kernel's LRU knows no time, only updates.
type pace struct {
	at     time.Time           // of the last run, or of the start
	before map[uint32][]uint64 // each map's updates by CPU at that time
}

// look reports whether entries must be looked up again, and when to look again.
func (p *pace) look(updates []kprobes.Updates, cpus int, now time.Time) (due bool, wait time.Duration) {
	progress := 0.0 // towards the next run
	for _, u := range updates {
		if before := p.before[u.Map.ID]; before != nil {
			progress = max(progress, passed(u, before, cpus))
		}
	}
	since := now.Sub(p.at)
	if due = progress >= 1 || p.before == nil; due {
		p.at, p.before = now, map[uint32][]uint64{}
	}
	for _, u := range updates {
		if p.before[u.Map.ID] == nil { // after a run, and where a map is new
			p.before[u.Map.ID] = u.ByCPU
		}
	}
	wait = slowest
	if progress > 0 {
		wait = min(max(time.Duration(float64(since)/progress/looks), fastest), slowest)
	}
	return due, wait
}

// passed returns how much of the way to the next run a map has gone.
func passed(u kprobes.Updates, before []uint64, cpus int) float64 {
	every := float64(sizing.TouchEvery(int(u.Map.MaxEntries), cpus, u.Map.Distributed))
	var most, sum uint64
	for cpu, n := range u.ByCPU {
		sum += n - before[cpu]
		most = max(most, n-before[cpu])
	}
	if u.Map.Distributed {
		return float64(most) / every
	}
	return float64(sum) / every
}

// roomy reports whether the maps are known to be so empty that nothing will be
// evicted before the next runs.
func (g *Guard) roomy() bool {
	all, err := g.kernel.Occupancy()
	if err != nil {
		if !errors.Is(err, kprobes.ErrNoCount) {
			g.config.Log.Debug().Err(err).Msg("how full the maps are is not known")
		}
		return false
	}
	for _, o := range all {
		if int(o.Entries) >= sizing.TouchFrom(int(o.Map.MaxEntries), g.cpus, o.Map.Distributed) {
			return false
		}
	}
	return true
}
