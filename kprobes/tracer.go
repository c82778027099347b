// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/renat-project/renat/correlator"
)

const (
	// lookEvery is how often the maps are looked for and losses counted: half
	// of the 2 s within which a replaced map must be noticed.
	lookEvery = time.Second
	// pause is how often the ring buffer is read while events come, at its whole
	// multiples of the clock, as flows are: one wake-up serves both. An event
	// that comes alone wakes its reader at once; nothing is older than a pause.
	pause = 10 * time.Millisecond
	// gatherMax is how many pauses without an event end that: a wait in the
	// kernel has Go's monitor look for some milliseconds, 20 µs apart at first,
	// how long it takes.
	gatherMax = 10
)

// Tracer watches Cilium's maps.
type Tracer struct {
	config    Config
	kernel    *kernelSide
	ring      *ringbuf.Reader
	occupancy *occupancy
	jited     *jited
	degraded  []string      // what New found missing
	tick      time.Duration // of the kernel

	// Run's alone.
	callers  callers
	lost     lossTotals
	due      bool // a survey, because of a new map
	doubt    bool // a survey, because something was lost
	surveyed time.Time
	followed time.Time         // the time-outs
	snat     map[bool][16]byte // the address pods are translated to, by whether IPv6

	missing, unsurveyed atomic.Uint64
	tooMany             atomic.Uint64 // unsurveyed by the last survey
	remembers           atomic.Int64  // nanoseconds

	wakeups, received, undecodable atomic.Uint64
	delivering                     atomic.Bool
	delivered                      atomic.Uint64 // when the event happened that was emitted last
	empty                          atomic.Uint64 // when the ring was last seen to be empty

	traces traces

	guardMu sync.Mutex // held by Touch, before mu; guards what follows
	guards  map[bool]*guard

	mu         sync.Mutex // guards what follows
	watching   map[uint32]*cilium
	retired    map[uint32]*cilium // watched before; events of theirs may still come
	free       []uint32           // slots of the counters
	past       Counters           // of retired maps
	looks      int                // for maps, with all found watched
	findErr    error              // of the last look for maps
	unnamed    error              // why callers have no names
	blind      error              // why the last survey failed
	unfollowed error              // why the time-outs of Cilium are not known
	gone       map[string]uint32  // sizes of maps that went without a successor, by name
	left       int                // maps for which there is no place
}

// New loads and attaches the programs. Errors: ErrPrivilege, ErrNoBTF,
// ErrLockdown, ErrTooOld, *LayoutError, or what else the kernel said.
func New(c Config) (*Tracer, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring the kernel tracer: %w", err)
	}
	t := &Tracer{config: c, watching: map[uint32]*cilium{}, retired: map[uint32]*cilium{}, gone: map[string]uint32{}, snat: map[bool][16]byte{}, guards: map[bool]*guard{}}
	addresses, err := readKernelAddresses(kallsymsFile)
	if err != nil || addresses.textStart == 0 {
		t.degraded = append(t.degraded, "kernel addresses are hidden: calling programs stay unnamed (grant CAP_SYSLOG, or set kernel.kptr_restrict to 0)")
	}
	if t.kernel, err = load(c, addresses); err != nil {
		return nil, err
	}
	if t.kernel.backend == Kprobe {
		t.degraded = append(t.degraded, "kprobes do not see what bpf(2) inserts, nor what that evicts, nor the values of what it deletes: tracking entries that a process deletes alive go unseen")
	}
	if t.ring, err = ringbuf.NewReader(t.kernel.collection.Maps[watchMapEvents]); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ring buffer: %w", err), t.kernel.close())
	}
	if t.tick, err = tick(); err != nil {
		return nil, errors.Join(err, t.ring.Close(), t.kernel.close())
	}
	t.remembers.Store(int64(c.filterWindow))
	t.occupancy = newOccupancy()
	t.jited = newJited()
	t.callers.list = t.jited.list
	t.callers.named = func() (n uint64, err error) {
		return n, t.kernel.collection.Variables[watchVarProgramsNamed].Get(&n)
	}
	t.traces.callers = callers{list: t.callers.list, named: t.callers.named}
	for slot := range t.kernel.collection.Maps[watchMapCounts].MaxEntries() {
		t.free = append(t.free, slot)
	}
	return t, nil
}

// Close detaches the programs and frees all.
func (t *Tracer) Close() error {
	err := t.stopTraces()
	t.guardMu.Lock()
	defer t.guardMu.Unlock()
	for _, g := range t.guards {
		g.close()
	}
	t.guards = nil
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.watching {
		m.fd.Close()
	}
	t.watching = nil
	return errors.Join(err, t.ring.Close(), t.occupancy.close(), t.jited.close(), t.kernel.close())
}

// Run watches until ctx ends, and then returns ctx's error. While Cilium has
// no maps it waits for them; Status says so. It fails on a *LayoutError of a
// map, and when the kernel takes something away.
func (t *Tracer) Run(ctx context.Context, emit func(correlator.Event)) error {
	var offset int64
	var record ringbuf.Record
	var event watchEvent
	var look time.Time
	waited := true
	for ctx.Err() == nil {
		if now := time.Now(); !now.Before(look) {
			look = now.Add(lookEvery)
			if err := t.look(now.UnixNano(), emit); err != nil {
				return err
			}
			t.ring.SetDeadline(look)
		}
		err := t.ring.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			waited = true
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the ring buffer: %w", err)
		}
		t.delivering.Store(true)
		if waited {
			// The clock may have been set while there was nothing to read.
			offset = clockOffset()
		}
		t.deliver(&record, &event, offset, emit)
		t.delivering.Store(false)
		if waited = record.Remaining == 0; waited {
			t.wakeups.Add(1)
			t.gather(ctx)
		}
	}
	return ctx.Err()
}

// gather waits until there are events in the ring, or for so long that it is
// cheaper to have the kernel wake up Run for the next.
func (t *Tracer) gather(ctx context.Context) {
	for range gatherMax {
		time.Sleep(pause - time.Duration(time.Now().UnixNano())%pause)
		if t.ring.AvailableBytes() > 0 || ctx.Err() != nil {
			return
		}
	}
}

// deliver decodes one event and emits it.
func (t *Tracer) deliver(r *ringbuf.Record, e *watchEvent, offset int64, emit func(correlator.Event)) {
	defer t.received.Add(1)
	err := parse(r.RawSample, e)
	var m *cilium
	if err == nil {
		if m = t.mapOf(e.Map); m == nil {
			err = errUnknownMap
		}
	}
	if err != nil {
		t.undecodable.Add(1)
		at := time.Now().UnixNano()
		emit(correlator.Event{Time: at, Kind: correlator.KindLoss,
			Loss: correlator.Loss{From: correlator.LossKernelDecode, Count: 1, First: at, Last: at}})
		return
	}
	ev := change(e, m, offset, t.tick)
	ev.NAT.Caller = t.callers.of(e)
	emit(ev)
	t.delivered.Store(e.Ktime)
}

// CaughtUp returns how far Run is, in nanoseconds of the kernel's monotonic
// clock: what was sent earlier has been emitted. It trails the clock by
// milliseconds, and by more while Run is kept from reading, or lists the
// kernel's programs.
func (t *Tracer) CaughtUp() uint64 {
	now := monotonicClock()
	if t.ring.AvailableBytes() == 0 && !t.delivering.Load() {
		t.empty.Store(uint64(now))
	}
	return max(t.delivered.Load(), t.empty.Load())
}

func (t *Tracer) mapOf(id uint32) *cilium {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.watching[id]; m != nil {
		return m
	}
	return t.retired[id]
}
