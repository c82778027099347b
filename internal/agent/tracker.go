// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

const (
	// hold is how long events wait for earlier ones. It covers the tracer's
	// pause and what a stream of flows gathers; an incident is late by it.
	hold = 20 * time.Millisecond
	// patience is how far a source may be behind: an overwhelmed Hubble is, by
	// seconds, and the tracer while it reads the kernel's symbols.
	patience = 5 * time.Second
	// behindFor is how long a source counts as behind after it was: the next
	// flow may be another CPU's.
	behindFor = 10 * time.Second
	// maxHeld is how many events may wait meanwhile.
	maxHeld = 1 << 17
	// tick is how often time passes for the correlator at most without an event,
	// and rest how seldom.
	tick = 10 * time.Millisecond
	rest = time.Second
)

// tracker brings the sources' events into one time and to the correlator. Its
// sources call flow and change at the same time.
type tracker struct {
	clock     *clock
	kernel    Kernel
	found     func(i *incident.Incident, delay time.Duration)
	flowDelay prometheus.Observer
	began     int64 // flows from before are history

	mu         sync.Mutex // guards what follows
	correlator *correlator.Correlator
	scratch    correlator.Event
	asleep     bool        // time passes more than a tick from now
	timer      *time.Timer // until then
	flows      late
	changes    late
}

// late is when a source was last further behind than patience, and by how much.
type late struct {
	at int64 // steady time, 0: never
	by time.Duration
}

// note takes by how much a source is behind at now.
func (l *late) note(now int64, by time.Duration) {
	if by > patience {
		*l = late{now, by}
	}
}

// told says what is behind, nil if nothing was of late.
func (l late) told(now int64, what string) error {
	if l.at == 0 || now-l.at > int64(behindFor) {
		return nil
	}
	return fmt.Errorf("%s %.0f s late, more than the %.0f s that are waited for: connections may break unseen, or be told of with a wrong cause; "+
		"give the agent more CPU, or its Hubble fewer flows with --exclude-cidr", what, l.by.Seconds(), patience.Seconds())
}

func newTracker(c correlator.Config, clk *clock, kernel Kernel, flowDelay prometheus.Observer, found func(*incident.Incident, time.Duration)) (*tracker, error) {
	c.Hold, c.Patience, c.MaxHeld = hold, patience, maxHeld
	t := &tracker{clock: clk, kernel: kernel, found: found, flowDelay: flowDelay, timer: time.NewTimer(0), began: clk.now()}
	var err error
	t.correlator, err = correlator.New(c, t.emit)
	return t, err
}

// flow takes what Hubble's client emits.
func (t *tracker) flow(ev correlator.Event) {
	var now int64
	ev.Time, now = t.clock.ofWallNow(ev.Time)
	if ev.Kind == correlator.KindFlow {
		delay := time.Duration(now - ev.Time)
		t.flowDelay.Observe(delay.Seconds())
		if delay > patience && ev.Time >= t.began {
			t.mu.Lock()
			t.flows.note(now, delay)
			t.mu.Unlock()
		}
	}
	t.observe(&ev)
}

// change takes what the kernel tracer emits.
func (t *tracker) change(ev correlator.Event) {
	if ev.NAT.KTime != 0 {
		ev.Time = t.clock.ofKernel(ev.NAT.KTime)
	} else {
		ev.Time = t.clock.ofWall(ev.Time)
	}
	t.observe(&ev)
}

func (t *tracker) observe(ev *correlator.Event) {
	if ev.Kind == correlator.KindLoss {
		ev.Loss.First, ev.Loss.Last = t.clock.ofWall(ev.Loss.First), t.clock.ofWall(ev.Loss.Last)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asleep {
		t.pass()
		t.asleep = false
		t.timer.Reset(toTick()) // what is due next, the event may change
	}
	t.scratch = *ev
	t.correlator.Observe(&t.scratch)
}

// run lets time pass until ctx ends: when something is due, and not at all while
// nothing is.
func (t *tracker) run(ctx context.Context) error {
	defer t.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.timer.C:
			t.wake()
		}
	}
}

// wake lets time pass and plans when it does so next.
func (t *tracker) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.pass()
	wait := min(time.Duration(t.correlator.Next()-now), rest)
	if t.asleep = wait > tick; !t.asleep {
		wait = toTick()
	}
	t.timer.Reset(wait)
}

// toTick returns how long it is until the clock shows a whole number of ticks, as
// it does when Hubble and the kernel are read: one wake-up serves all three.
func toTick() time.Duration { return tick - time.Duration(time.Now().UnixNano())%tick }

// pass lets time pass; the lock is held.
func (t *tracker) pass() (now int64) {
	caughtUp := t.kernel.CaughtUp()
	read, now := t.clock.ofKernel(caughtUp), t.clock.now()
	if caughtUp > 0 {
		t.changes.note(now, time.Duration(now-read))
	}
	t.correlator.KernelRead(read)
	t.correlator.Remembers(t.kernel.Remembers())
	t.correlator.Advance(now)
	return now
}

// finish decides what is open: no more events come.
func (t *tracker) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.correlator.Flush()
}

// behind says which source is so far behind that its events are not put into
// their order, nil if none was of late.
func (t *tracker) behind() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.pass()
	return cmp.Or(t.changes.told(now, "the kernel's changes are read"), t.flows.told(now, "Hubble's flows come"))
}

func (t *tracker) stats() correlator.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.correlator.Stats()
}

// emit passes an incident on, its times as the wall clock showed them; the lock
// is held.
func (t *tracker) emit(i *incident.Incident) {
	var delay time.Duration // since the last of the evidence
	if n := len(i.Evidence); n > 0 {
		delay = time.Duration(t.clock.now() - i.Evidence[n-1].Time.UnixNano())
	}
	for _, at := range []*time.Time{&i.Time, &i.NAT.RemovedAt, &i.NAT.RenattedAt} {
		*at = t.clock.wall(*at)
	}
	if i.Ports != nil {
		i.Ports.Since = t.clock.wall(i.Ports.Since)
	}
	for n := range i.Evidence {
		i.Evidence[n].Time = t.clock.wall(i.Evidence[n].Time)
	}
	t.found(i, delay)
}
