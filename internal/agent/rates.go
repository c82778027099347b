// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"sync"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/kprobes"
)

const (
	sampleEvery = 10 * time.Second
	minute      = int(time.Minute / sampleEvery)
	tenMinutes  = 10 * minute
)

// rates remembers the maps' counters of the last ten minutes.
type rates struct {
	mu      sync.Mutex // guards what follows
	samples []sample   // the newest last, at most tenMinutes+1
}

type sample struct {
	at   time.Time // with the monotonic clock
	maps map[uint32]kprobes.Counters
}

func (r *rates) add(s sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.samples) > tenMinutes {
		r.samples = append(r.samples[:0], r.samples[1:]...)
	}
	r.samples = append(r.samples, s)
}

// of returns a map's rates since so many samples ago; since the first in which
// the map is, if that is later. Zero while there is none.
func (r *rates) of(id uint32, samples int, now time.Time, c kprobes.Counters) nodestatus.Rates {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.samples[max(0, len(r.samples)-samples):] {
		before, ok := s.maps[id]
		seconds := now.Sub(s.at).Seconds()
		if !ok || seconds <= 0 {
			continue
		}
		rate := nodestatus.Rates{
			Inserts:   float64(c.Inserts-before.Inserts) / seconds,
			Evictions: float64(c.Evictions-before.Evictions) / seconds,
			LostAlive: float64(alive(c)-alive(before)) / seconds,
		}
		if c.Evictions > before.Evictions {
			rate.ForcedShare = float64(c.Forced-before.Forced) / float64(c.Evictions-before.Evictions)
		}
		return rate
	}
	return nodestatus.Rates{}
}

// alive is how many tracking entries of living connections were removed.
func alive(c kprobes.Counters) (sum uint64) {
	for _, n := range lostAlive(c) {
		sum += n
	}
	return sum
}

// covers reports whether there are samples of so long ago.
func (r *rates) covers(samples int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.samples) > samples
}

// seePeaks remembers what the maps have to bear now.
func (a *agent) seePeaks(stats []kprobes.MapStats) {
	now := time.Now()
	full := a.rates.covers(minute)
	for _, m := range a.maps(stats, now) {
		var rates *nodestatus.Rates
		if full {
			rates = &m.LastMinute
		}
		if err := a.peaks.See(&m, m.Entries, rates, now); err != nil {
			a.log.Warn().Err(err).Msg("a restart will forget it")
		}
	}
}

// sample reads the counters every ten seconds until ctx ends.
func (a *agent) sample(ctx context.Context) error {
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	for {
		if stats, err := a.config.Kernel.Stats(); err != nil {
			a.log.Warn().Err(err).Msg("the maps' rates are not known")
		} else {
			s := sample{at: time.Now(), maps: map[uint32]kprobes.Counters{}}
			for _, m := range stats.Maps {
				s.maps[m.Map.ID] = m.Counters
			}
			a.rates.add(s)
			a.seePeaks(stats.Maps)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}
