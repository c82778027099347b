// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

const (
	// hold is how long events wait for earlier ones. It covers the tracer's
	// pause (5 ms) and what a stream of flows gathers; an incident is late by it.
	hold = 20 * time.Millisecond
	// patience is how far a source may be behind: an overwhelmed Hubble is, by
	// seconds, and the tracer while it reads the kernel's symbols.
	patience = 5 * time.Second
	// maxHeld is how many events may wait meanwhile.
	maxHeld = 1 << 17
	// tick is how often time passes for the correlator at most without an event,
	// and rest how seldom.
	tick = 5 * time.Millisecond
	rest = time.Second
)

// tracker brings the sources' events into one time and to the correlator. Its
// sources call flow and change at the same time.
type tracker struct {
	clock     *clock
	kernel    Kernel
	found     func(i *incident.Incident, delay time.Duration)
	flowDelay prometheus.Observer

	mu         sync.Mutex // guards what follows
	correlator *correlator.Correlator
	scratch    correlator.Event
	asleep     bool        // time passes more than a tick from now
	timer      *time.Timer // until then
}

func newTracker(c correlator.Config, clk *clock, kernel Kernel, flowDelay prometheus.Observer, found func(*incident.Incident, time.Duration)) (*tracker, error) {
	c.Hold, c.Patience, c.MaxHeld = hold, patience, maxHeld
	t := &tracker{clock: clk, kernel: kernel, found: found, flowDelay: flowDelay, timer: time.NewTimer(0)}
	var err error
	t.correlator, err = correlator.New(c, t.emit)
	return t, err
}

// flow takes what Hubble's client emits.
func (t *tracker) flow(ev correlator.Event) {
	ev.Time = t.clock.ofWall(ev.Time)
	if ev.Kind == correlator.KindFlow {
		t.flowDelay.Observe(time.Duration(t.clock.now() - ev.Time).Seconds())
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
		t.timer.Reset(tick) // what is due next, the event may change
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
	wait := min(max(time.Duration(t.correlator.Next()-now), tick), rest)
	t.asleep = wait > tick
	t.timer.Reset(wait)
}

// pass lets time pass; the lock is held.
func (t *tracker) pass() (now int64) {
	read, now := t.clock.ofKernel(t.kernel.CaughtUp()), t.clock.now()
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
