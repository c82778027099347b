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

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/renat-project/renat/correlator"
)

const (
	// lookEvery is how often the maps are looked for and losses counted: half
	// of the 2 s within which a replaced map must be noticed.
	lookEvery = time.Second
	// pause follows when the ring buffer was read empty. An event that comes
	// alone wakes its reader at once; in a storm the reader wakes up at most
	// once a pause, and nothing is older than it.
	pause = 5 * time.Millisecond
)

// Tracer watches Cilium's maps.
type Tracer struct {
	config    Config
	kernel    *kernelSide
	ring      *ringbuf.Reader
	occupancy *occupancy
	degraded  []string // what New found missing

	// Run's alone.
	callers callers
	lost    lossTotals

	wakeups, received, undecodable atomic.Uint64
	delivering                     atomic.Bool
	delivered                      atomic.Uint64 // when the event happened that was emitted last
	empty                          atomic.Uint64 // when the ring was last seen to be empty

	mu       sync.Mutex // guards what follows
	watching map[uint32]*cilium
	retired  map[uint32]*cilium // watched before; events of theirs may still come
	free     []uint32           // slots of the counters
	past     Counters           // of retired maps
	findErr  error              // of the last look for maps
	unnamed  error              // why callers have no names
}

// New loads and attaches the programs. Errors: ErrPrivilege, ErrNoBTF,
// ErrLockdown, ErrTooOld, *LayoutError, or what else the kernel said.
func New(c Config) (*Tracer, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring the kernel tracer: %w", err)
	}
	t := &Tracer{config: c, watching: map[uint32]*cilium{}, retired: map[uint32]*cilium{}}
	addresses, err := readKernelAddresses(kallsymsFile)
	if err != nil || addresses.textStart == 0 {
		t.degraded = append(t.degraded, "kernel addresses are hidden: calling programs stay unnamed (grant CAP_SYSLOG, or set kernel.kptr_restrict to 0)")
	}
	if t.kernel, err = load(c, addresses); err != nil {
		return nil, err
	}
	if t.kernel.backend == Kprobe {
		t.degraded = append(t.degraded, "kprobes do not see what bpf(2) inserts, nor what that evicts, nor the values of what it deletes")
	}
	if t.ring, err = ringbuf.NewReader(t.kernel.collection.Maps[watchMapEvents]); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ring buffer: %w", err), t.kernel.close())
	}
	t.occupancy = newOccupancy()
	t.callers.file = kallsymsFile
	t.callers.named = func() (n uint64, err error) {
		return n, t.kernel.collection.Variables[watchVarProgramsNamed].Get(&n)
	}
	for slot := range t.kernel.collection.Maps[watchMapCounts].MaxEntries() {
		t.free = append(t.free, slot)
	}
	return t, nil
}

// Close detaches the programs and frees all.
func (t *Tracer) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.watching {
		m.fd.Close()
	}
	t.watching = nil
	return errors.Join(t.ring.Close(), t.occupancy.close(), t.kernel.close())
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
			if offset, err = clockOffset(); err != nil {
				return err
			}
		}
		t.deliver(&record, &event, offset, emit)
		t.delivering.Store(false)
		if waited = record.Remaining == 0; waited {
			t.wakeups.Add(1)
			time.Sleep(pause)
		}
	}
	return ctx.Err()
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
	ev := change(e, m, offset)
	ev.NAT.Caller = t.callers.of(e)
	emit(ev)
	t.delivered.Store(e.Ktime)
}

// CaughtUp returns how far Run is, in nanoseconds of the kernel's monotonic
// clock: what was sent earlier has been emitted. It trails the clock by
// milliseconds, and by more while Run is kept from reading, or reads the
// kernel's symbols.
func (t *Tracer) CaughtUp() uint64 {
	now, err := monotonicClock()
	if err == nil && t.ring.AvailableBytes() == 0 && !t.delivering.Load() {
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

// look finds new and replaced maps and reports losses; now is Unix time.
func (t *Tracer) look(now int64, emit func(correlator.Event)) error {
	found, err := findMaps(t.config.BPFFS)
	var layout *LayoutError
	if errors.As(err, &layout) {
		return err
	}
	t.mu.Lock()
	t.findErr, t.unnamed = err, t.callers.err
	t.mu.Unlock()
	for i, m := range found {
		replaced, err := t.watch(m)
		if err != nil {
			closeMaps(found[i:])
			return err
		}
		if replaced {
			emit(correlator.Event{Time: now, Kind: correlator.KindNAT,
				NAT: correlator.NATChange{Op: correlator.Replaced, Map: m.Map}})
		}
	}
	return t.reportLoss(now, emit)
}

// watch begins to watch a map and ends it for the one it replaces. It owns m,
// unless it fails.
func (t *Tracer) watch(m *cilium) (replaced bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watching[m.ID] != nil {
		m.fd.Close()
		return false, nil
	}
	if len(t.free) == 0 {
		return false, fmt.Errorf("watching map %s: more than %d maps", m.Name, t.kernel.collection.Maps[watchMapCounts].MaxEntries())
	}
	m.slot, t.free = t.free[0], t.free[1:]
	if err := t.program(m); err != nil {
		t.free = append(t.free, m.slot)
		return false, err
	}
	t.watching[m.ID] = m
	for id, old := range t.watching {
		if old.Name != m.Name || id == m.ID {
			continue
		}
		replaced = true
		if err := t.kernel.places.remove(id); err != nil {
			return true, fmt.Errorf("leaving map %s: %w", old.Name, err)
		}
		counted, err := t.counters(old)
		if err != nil {
			return true, err
		}
		t.past.add(counted)
		delete(t.watching, id)
		t.retired[id] = old
		t.free = append(t.free, old.slot)
		old.fd.Close()
	}
	return replaced, nil
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
