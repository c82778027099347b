// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"maps"
	"sync"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
)

// tally counts incidents, and maps that were replaced.
type tally struct {
	mu      sync.Mutex // guards what follows
	counts  nodestatus.Incidents
	minutes [60]uint64               // found per minute, in a ring
	minute  int64                    // number of the newest minute in it
	gaps    map[string]time.Duration // longest, by map
	anew    map[string]uint64        // how often a map was replaced
}

func newTally() *tally {
	return &tally{gaps: map[string]time.Duration{}, anew: map[string]uint64{}}
}

func (t *tally) add(i *incident.Incident, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn(now)
	t.minutes[t.minute%60]++
	t.counts.Add(string(i.Kind), string(i.Outcome), i.Time)
	// Of other kinds a larger NAT map would have helped none.
	if (i.Kind == incident.Renat || i.Kind == incident.OrphanedReply) && i.Cause == incident.LRUEviction {
		t.gaps[i.NAT.Map] = max(t.gaps[i.NAT.Map], silence(i))
	}
}

// silence is how long the connection was not heard of before it was found
// broken, as far as the evidence goes back.
func silence(i *incident.Incident) time.Duration {
	last := i.NAT.RemovedAt
	for _, e := range i.Evidence {
		if e.Time.Before(i.NAT.RemovedAt) {
			last = e.Time
		}
	}
	if last.IsZero() {
		return 0
	}
	return max(0, i.Time.Sub(last))
}

// turn empties the minutes that have come since.
func (t *tally) turn(now time.Time) {
	minute := now.Unix() / 60
	for ; t.minute < minute && minute-t.minute <= 60; t.minute++ {
		t.minutes[(t.minute+1)%60] = 0
	}
	if t.minute != minute { // long ago, or the clock was set back
		t.minutes, t.minute = [60]uint64{}, minute
	}
}

func (t *tally) incidents(now time.Time) nodestatus.Incidents {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn(now)
	c := t.counts
	c.Kinds, c.Outcomes = maps.Clone(c.Kinds), maps.Clone(c.Outcomes)
	for ago := range int64(60) {
		n := t.minutes[(t.minute-ago)%60]
		c.LastHour += n
		if ago < 10 {
			c.LastTen += n
		}
	}
	return c
}

func (t *tally) longestGap(of string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gaps[of]
}

func (t *tally) replaced(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.anew[name]++
}

func (t *tally) replacements(name string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.anew[name]
}
