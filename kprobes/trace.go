// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/renat-project/renat/correlator"
)

// Selection chooses connections by their ends; what is zero is not asked for.
type Selection struct {
	// Pod is the end on this node, before it is translated: a pod's, or the node's
	// own. A port of 0 is any.
	Pod      correlator.Addr
	Server   correlator.Addr // the other end
	Protocol correlator.Protocol
	// NoNAT and NoCT leave out the operations on these maps.
	NoNAT, NoCT bool
}

// maxTraces is TRACES of bpf/event.h.
const maxTraces = 8

// ErrTraces says that as many traces run as there can be.
var ErrTraces = fmt.Errorf("%d traces run already: end one of them", maxTraces)

// Trace is one that runs: every operation on the entries of chosen connections.
type Trace struct {
	tracer *Tracer
	slot   int
	emit   func(correlator.Event)
	since  uint64                   // ktime; what is older is an earlier trace's
	lost   uint64                   // of the slot when it was last looked at
	pods   map[bool]correlator.Addr // those to mark in the programs' trace_marks, by IP version
}

// traces runs those of a Tracer. Its lock is held while their bits are changed,
// and while events are passed on.
type traces struct {
	mu      sync.Mutex
	running [maxTraces]*Trace
	bits    uint64          // the programs' tracing
	ring    *ringbuf.Reader // nil before the first
	done    chan struct{}   // closed when the ring's reader has ended
	callers callers
}

// Trace begins a trace of what its Select chooses; until then that is nothing.
// emit is called, for one event at a time, with each operation, in the order of
// the kernel's ring, and with losses: what is more than 1,900 events a second
// and CPU is counted, not sent. It must not wait, nor call the Trace.
func (t *Tracer) Trace(emit func(correlator.Event)) (*Trace, error) {
	t.traces.mu.Lock()
	defer t.traces.mu.Unlock()
	if !t.config.Traces {
		return nil, errors.New("this tracer was made without Config.Traces")
	}
	now := monotonicClock()
	var err error
	for slot, other := range t.traces.running {
		if other != nil {
			continue
		}
		tr := &Trace{tracer: t, slot: slot, emit: emit, since: uint64(now), pods: map[bool]correlator.Addr{}}
		if tr.lost, err = t.tracesLost(slot); err != nil {
			return nil, err
		}
		if t.traces.ring == nil {
			if err := t.readTraces(); err != nil {
				return nil, err
			}
		}
		t.traces.running[slot] = tr
		return tr, nil
	}
	return nil, ErrTraces
}

// Select chooses the connections of one IP version, in place of those that were
// chosen of it: that of the selection's addresses; both if it has none.
func (tr *Trace) Select(s Selection) error {
	t := tr.tracer
	t.traces.mu.Lock()
	defer t.traces.mu.Unlock()
	versions := []bool{false, true}
	for _, a := range []correlator.Addr{s.Pod, s.Server} {
		if a.IP != ([16]byte{}) {
			versions = []bool{a.AddrPort().Addr().Is6()}
		}
	}
	for _, v6 := range versions {
		if err := t.setTracing(t.traces.bits &^ tr.bits(v6, false, false)); err != nil {
			return err
		}
		name := watchVarTraceRules4
		if v6 {
			name = watchVarTraceRules6
		}
		rules := t.kernel.collection.Variables[name]
		var all [maxTraces]watchTraceRule
		if err := rules.Get(&all); err != nil {
			return fmt.Errorf("reading what is traced: %w", err)
		}
		all[tr.slot] = s.rule(v6)
		if err := rules.Set(all); err != nil {
			return fmt.Errorf("saying what to trace: %w", err)
		}
		tr.pods[v6] = s.Pod
		if err := t.setPods(); err != nil {
			return err
		}
		if err := t.setTracing(t.traces.bits | tr.bits(v6, s.NoNAT, s.NoCT)); err != nil {
			return err
		}
	}
	return nil
}

// bits are those of tracing that stand for the trace.
func (tr *Trace) bits(v6, noNAT, noCT bool) (bits uint64) {
	at := tr.slot
	if v6 {
		at += 8
	}
	if !noNAT {
		bits |= 1 << at
	}
	if !noCT {
		bits |= 1 << (at + 16)
	}
	return bits
}

// Close ends the trace: its emit is not called any more.
func (tr *Trace) Close() error {
	t := tr.tracer
	t.traces.mu.Lock()
	defer t.traces.mu.Unlock()
	if t.traces.running[tr.slot] != tr {
		return nil
	}
	err := t.setTracing(t.traces.bits &^ (tr.bits(false, false, false) | tr.bits(true, false, false)))
	if err == nil {
		err = t.forgetPorts(tr.slot)
	}
	if err != nil {
		return err // its place is not another's to take
	}
	t.traces.running[tr.slot] = nil
	if err := t.setPods(); err != nil || t.traces.running != ([maxTraces]*Trace{}) {
		return err
	}
	var none traceMarkedPorts
	return t.setMarks(none[:], 0)
}

// The programs' trace_marks: its ports, then its pods.
type (
	traceMarkedPorts [1 << 12]byte
	traceMarkedPods  [1 << 16]byte
)

// setMarks writes marks at an offset of trace_marks.
func (t *Tracer) setMarks(marks []byte, at int) error {
	memory, err := t.kernel.collection.Maps[bss].Memory()
	if err == nil {
		_, err = memory.WriteAt(marks, int64(t.kernel.traceMarks)+int64(at))
	}
	if err != nil {
		return fmt.Errorf("marking what to trace: %w", err)
	}
	return nil
}

// setPods marks the pods that traces ask for, all if one asks for none; the lock
// is held.
func (t *Tracer) setPods() error {
	var marks traceMarkedPods
	for _, tr := range t.traces.running {
		if tr == nil {
			continue
		}
		for _, pod := range tr.pods {
			if pod.IP == ([16]byte{}) {
				copy(marks[:], bytes.Repeat([]byte{1}, len(marks)))
			}
			marks[binary.LittleEndian.Uint16(pod.IP[14:])] = 1
		}
	}
	return t.setMarks(marks[:], len(traceMarkedPorts{}))
}

// setTracing tells the programs which traces there are; the lock is held.
func (t *Tracer) setTracing(bits uint64) error {
	var scale uint64 // 0 has them look for traces
	if bits == 0 {
		scale = filterScale(t.kernel.filter.shift)
	}
	err := t.kernel.collection.Variables[watchVarTracing].Set(bits)
	if err == nil {
		err = t.kernel.collection.Variables[watchVarFilterGlanceScale].Set(scale)
	}
	if err != nil {
		return fmt.Errorf("saying what to trace: %w", err)
	}
	t.traces.bits = bits
	return nil
}

const (
	tracePorts = 512    // TRACE_PORTS of bpf/trace.h
	bss        = ".bss" // the map with the programs' variables
)

// forgetPorts takes a trace that has ended out of what the programs learnt. They
// write meanwhile, for others: what need not be changed is not touched.
func (t *Tracer) forgetPorts(slot int) error {
	var cells [tracePorts]uint64
	err := t.kernel.collection.Variables[watchVarTracePorts].Get(&cells)
	memory, memoryErr := t.kernel.collection.Maps[bss].Memory()
	if err = errors.Join(err, memoryErr); err != nil {
		return fmt.Errorf("reading the traced ports: %w", err)
	}
	for i, cell := range cells {
		if cell>>slot&1 == 0 {
			continue
		}
		var word [8]byte
		binary.NativeEndian.PutUint64(word[:], cell&^(1<<slot))
		if _, err := memory.WriteAt(word[:], int64(t.kernel.tracePorts)+8*int64(i)); err != nil {
			return fmt.Errorf("forgetting a traced port: %w", err)
		}
	}
	return nil
}

// tracesLost is how many events of a slot's traces were not sent.
func (t *Tracer) tracesLost(slot int) (lost uint64, err error) {
	for traces := uint32(1); traces < 1<<maxTraces; traces++ {
		if traces>>slot&1 == 0 {
			continue
		}
		var perCPU []watchTraceBudget
		if err := t.kernel.collection.Maps[watchMapTraceBudgets].Lookup(traces, &perCPU); err != nil {
			return 0, fmt.Errorf("reading the losses of a trace: %w", err)
		}
		for _, b := range perCPU {
			lost += b.Dropped
		}
	}
	return lost, nil
}

// readTraces begins to read the ring; the lock is held.
func (t *Tracer) readTraces() (err error) {
	if t.traces.ring, err = ringbuf.NewReader(t.kernel.collection.Maps[watchMapTraceEvents]); err != nil {
		return fmt.Errorf("opening the ring buffer of traces: %w", err)
	}
	t.traces.done = make(chan struct{})
	go t.passTraces(t.traces.ring, t.traces.done)
	return nil
}

// stopTraces ends all.
func (t *Tracer) stopTraces() error {
	t.traces.mu.Lock()
	ring, done := t.traces.ring, t.traces.done
	t.traces.running = [maxTraces]*Trace{}
	t.traces.mu.Unlock()
	if ring == nil {
		return nil
	}
	err := ring.Close()
	<-done
	return err
}

// traceLook is how often losses of traces are looked for.
const traceLook = time.Second

// passTraces passes on what the ring has until it is closed.
func (t *Tracer) passTraces(ring *ringbuf.Reader, done chan<- struct{}) {
	defer close(done)
	var record ringbuf.Record
	var event watchEvent
	var look time.Time
	for {
		if now := time.Now(); !now.Before(look) {
			look = now.Add(traceLook)
			ring.SetDeadline(look)
			t.passTraceLosses(now.UnixNano())
		}
		err := ring.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return // closed
		}
		t.passTraced(&record, &event, clockOffset())
	}
}

// passTraced gives an event to the traces that it is for.
func (t *Tracer) passTraced(r *ringbuf.Record, e *watchEvent, offset int64) {
	if len(r.RawSample) < int(unsafe.Sizeof(watchTraced{})) || parse(r.RawSample, e) != nil {
		return // the programs are ours: this does not happen
	}
	m := t.mapOf(e.Map)
	if m == nil {
		return // as little
	}
	slots := binary.NativeEndian.Uint64(r.RawSample[eventSize:])
	t.traces.mu.Lock()
	defer t.traces.mu.Unlock()
	ev := change(e, m, offset, t.tick)
	ev.NAT.Caller = t.traces.callers.of(e)
	for slot, tr := range t.traces.running {
		if tr != nil && slots>>slot&1 != 0 && e.Ktime >= tr.since {
			tr.emit(ev)
		}
	}
}

// passTraceLosses tells the traces what was not sent to them.
func (t *Tracer) passTraceLosses(now int64) {
	t.traces.mu.Lock()
	defer t.traces.mu.Unlock()
	for slot, tr := range t.traces.running {
		if tr == nil {
			continue
		}
		lost, err := t.tracesLost(slot)
		if err != nil || lost == tr.lost {
			continue
		}
		tr.emit(correlator.Event{Time: now, Kind: correlator.KindLoss, Loss: correlator.Loss{
			From: correlator.LossKernelRing, Count: lost - tr.lost, First: now - int64(traceLook), Last: now,
		}})
		tr.lost = lost
	}
}

// How the programs put a side of a connection into a word (bpf/trace.h).
const (
	sideProtocol = 16
	sideAddress  = 24
)

// rule puts the selection into words as the programs compare them.
func (s Selection) rule(v6 bool) (r watchTraceRule) {
	r.Pod, r.PodMask = side(s.Pod, v6)
	r.Server, r.ServerMask = side(s.Server, v6)
	if s.Protocol != 0 {
		r.Server |= uint64(s.Protocol) << sideProtocol
		r.ServerMask |= 0xff << sideProtocol
	}
	return r
}

func side(a correlator.Addr, v6 bool) (want, mask uint64) {
	if a.Port != 0 {
		var port [2]byte
		binary.BigEndian.PutUint16(port[:], a.Port)
		want, mask = uint64(binary.LittleEndian.Uint16(port[:])), 0xffff
	}
	if a.IP == ([16]byte{}) {
		return want, mask
	}
	const address uint64 = (1<<40 - 1) << sideAddress
	if v6 {
		want |= mix(mix(0, binary.LittleEndian.Uint64(a.IP[:])), binary.LittleEndian.Uint64(a.IP[8:])) & address
	} else {
		want |= uint64(binary.LittleEndian.Uint32(a.IP[12:])) << sideAddress
	}
	return want, mask | address
}
