// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// State is what a Tracer is doing.
type State string

// The states.
const (
	Waiting  State = "waiting"  // Cilium has no maps yet, or they cannot be opened: see Status.Problem
	Watching State = "watching" // at least one map is watched
)

// Status says how a Tracer is doing, in words for the operator.
type Status struct {
	State    State
	Problem  string // why it waits, or what the last look for maps failed with; "" if nothing
	Backend  Backend
	Why      string   // the backend was chosen
	Degraded []string // what does not work here, and what would help
	Maps     []*correlator.Map
	Kernel   string // release, as uname -r prints it
	CPUs     int    // possible ones, as LRU maps divide their entries among them; 0 if unknown
}

// Status returns the state of now.
func (t *Tracer) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Status{State: Waiting, Backend: t.kernel.backend, Why: t.kernel.why, Degraded: slices.Clone(t.degraded), Kernel: release()}
	s.CPUs, _ = ebpf.PossibleCPU()
	translates := false
	for _, m := range t.sorted() {
		s.Maps = append(s.Maps, m.Map)
		s.State = Watching
		translates = translates || !m.CT
	}
	switch {
	case t.findErr != nil:
		s.Problem = t.findErr.Error()
	case t.looks == 0:
		s.Problem = "looking for Cilium's maps"
	case s.State == Waiting:
		s.Problem = "Cilium has no NAT map on this node: waiting for its agent (with masquerading by BPF, or kube-proxy replacement)"
	}
	if s.State == Watching && !translates {
		s.Degraded = append(s.Degraded, "Cilium has no NAT map on this node, where iptables masquerades: of lost entries only those of connection tracking are told of")
	}
	if t.unnamed != nil {
		s.Degraded = append(s.Degraded, "calling programs stay unnamed: "+t.unnamed.Error())
	}
	if t.blind != nil {
		s.Degraded = append(s.Degraded, "connections that lost an entry before the start, or unseen, stay unknown: "+t.blind.Error())
	}
	if t.unfollowed != nil {
		s.Degraded = append(s.Degraded, fmt.Sprintf("connections that sleep for longer than %s may break unseen: %v", t.Remembers(), t.unfollowed))
	}
	if n := t.tooMany.Load(); n > 0 {
		s.Degraded = append(s.Degraded, fmt.Sprintf("%d tracked connections were too many to be asked for the NAT entries that they lost unseen", n))
	}
	if t.left > 0 {
		s.Degraded = append(s.Degraded, fmt.Sprintf("%d maps of other clusters are not watched: there is room for %d maps", t.left, len(t.watching)))
	}
	return s
}

// sorted returns the watched maps by name; t.mu is held.
func (t *Tracer) sorted() []*cilium {
	all := make([]*cilium, 0, len(t.watching))
	for _, m := range t.watching {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *cilium) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Counters is what the kernel side counted for one map since it is watched.
// It counts everything, sent or not; only what Stats.Missed tells is missing.
type Counters struct {
	Inserts        uint64 // updates that worked
	FailedEEXIST   uint64 // failed updates, by errno
	FailedENOMEM   uint64
	FailedEBUSY    uint64
	FailedOther    uint64
	Evictions      uint64 // forced ones included
	Forced         uint64 // evictions of entries in use lately
	DeletesSyscall uint64 // deletes that worked, by who did them
	DeletesProgram uint64
	DeletesUnknown uint64 // kernel addresses are hidden: no telling
	DeleteENOENT   uint64 // deletes that found nothing
	DeleteOther    uint64 // deletes that failed otherwise
	Withheld       uint64 // inserts the filter did not send
	Sent           uint64 // events put into the ring buffer
	Dropped        uint64 // events for which it was full
	// Of a connection tracking map: removed entries of pods' TCP connections that
	// were established, not closed and had time left, by who removed them.
	EvictedAlive        uint64
	DeletedAliveSyscall uint64
	DeletedAliveProgram uint64
	DeletedAliveUnknown uint64
}

// MapStats are one map's counters.
type MapStats struct {
	Map *correlator.Map
	Counters
}

// Stats are a Tracer's counters.
type Stats struct {
	Maps  []MapStats // watched now, by name
	Total Counters   // of all maps, those that were replaced included
	// Missed is how often an operation escaped: with fentry, because its program
	// was running on that CPU already (recursion_misses; 0 before Linux 5.15);
	// with either, because a batch deleted more than 4,096 keys; with kprobe,
	// because no return followed a call, or a syscall's keys could
	// not be read.
	Missed uint64
	// Missing is how many connections a survey found without one of their NAT
	// entries, or both: at the start, for a new map, after losses. Unsurveyed are
	// those that were too many to be looked at or told of.
	Missing, Unsurveyed uint64
	Received            uint64 // events read from the ring buffer
	Undecodable         uint64 // of these, not understood
	Wakeups             uint64 // times the reader had to be woken or to look
}

// Stats reads the counters.
func (t *Tracer) Stats() (Stats, error) {
	s := Stats{Missing: t.missing.Load(), Unsurveyed: t.unsurveyed.Load(), Received: t.received.Load(), Undecodable: t.undecodable.Load(), Wakeups: t.wakeups.Load()}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.sorted() {
		c, err := t.counters(m)
		if err != nil {
			return s, err
		}
		s.Maps = append(s.Maps, MapStats{Map: m.Map, Counters: c})
		s.Total.add(c)
	}
	s.Total.add(t.past)
	var err error
	s.Missed, err = t.missed()
	return s, err
}

// counters sums a map's counters over all CPUs; t.mu is held.
func (t *Tracer) counters(m *cilium) (Counters, error) {
	var sum Counters
	perCPU, err := t.perCPU(m)
	for _, c := range perCPU {
		sum.add(Counters{
			Inserts: c.Inserts, FailedEEXIST: c.InsertEexist, FailedENOMEM: c.InsertEnomem, FailedEBUSY: c.InsertEbusy,
			FailedOther: c.InsertOther, Evictions: c.Evictions, Forced: c.Forced, DeletesSyscall: c.DeletesSyscall,
			DeletesProgram: c.DeletesProgram, DeletesUnknown: c.DeletesUnknown, DeleteENOENT: c.DeleteEnoent,
			DeleteOther: c.DeleteOther, Withheld: c.Withheld, Sent: c.Sent, Dropped: c.Dropped,
			EvictedAlive: c.EvictedAlive, DeletedAliveSyscall: c.DeletedAliveSyscall,
			DeletedAliveProgram: c.DeletedAliveProgram, DeletedAliveUnknown: c.DeletedAliveUnknown,
		})
	}
	return sum, err
}

// perCPU reads a map's counters; t.mu is held.
func (t *Tracer) perCPU(m *cilium) ([]watchCounters, error) {
	var counters []watchCounters
	if err := t.kernel.collection.Maps[watchMapCounts].Lookup(m.slot, &counters); err != nil {
		return nil, fmt.Errorf("reading the counters of map %s: %w", m.Name, err)
	}
	return counters, nil
}

// Updates are how often a map was updated since it is watched. Each update
// takes an entry from the LRU, also one that fails.
type Updates struct {
	Map       *correlator.Map
	ByCPU     []uint64
	Evictions uint64
}

// Updates reads how often each watched map was updated.
func (t *Tracer) Updates() ([]Updates, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Updates
	for _, m := range t.sorted() {
		perCPU, err := t.perCPU(m)
		if err != nil {
			return nil, err
		}
		u := Updates{Map: m.Map, ByCPU: make([]uint64, len(perCPU))}
		for cpu, c := range perCPU {
			u.ByCPU[cpu] = c.Inserts + c.InsertEexist + c.InsertEnomem + c.InsertEbusy + c.InsertOther
			u.Evictions += c.Evictions
		}
		all = append(all, u)
	}
	return all, nil
}

func (c *Counters) add(o Counters) {
	c.Inserts += o.Inserts
	c.FailedEEXIST += o.FailedEEXIST
	c.FailedENOMEM += o.FailedENOMEM
	c.FailedEBUSY += o.FailedEBUSY
	c.FailedOther += o.FailedOther
	c.Evictions += o.Evictions
	c.Forced += o.Forced
	c.DeletesSyscall += o.DeletesSyscall
	c.DeletesProgram += o.DeletesProgram
	c.DeletesUnknown += o.DeletesUnknown
	c.DeleteENOENT += o.DeleteENOENT
	c.DeleteOther += o.DeleteOther
	c.Withheld += o.Withheld
	c.Sent += o.Sent
	c.Dropped += o.Dropped
	c.EvictedAlive += o.EvictedAlive
	c.DeletedAliveSyscall += o.DeletedAliveSyscall
	c.DeletedAliveProgram += o.DeletedAliveProgram
	c.DeletedAliveUnknown += o.DeletedAliveUnknown
}

// missed sums what the programs did not see. The recursion_misses of kprobes
// say nothing: they count each syscall on any LRU map, too.
func (t *Tracer) missed() (uint64, error) {
	var sum uint64
	for name, p := range t.kernel.collection.Programs {
		if t.kernel.backend == Kprobe {
			break
		}
		s, err := p.Stats()
		if err != nil {
			return 0, fmt.Errorf("reading the misses of program %s: %w", name, err)
		}
		sum += s.RecursionMisses
	}
	var perCPU []watchHookCounters
	if err := t.kernel.collection.Maps[watchMapHooks].Lookup(uint32(0), &perCPU); err != nil {
		return 0, fmt.Errorf("reading the hooks' counters: %w", err)
	}
	for _, c := range perCPU {
		sum += c.Unpaired + c.StashFull + c.BatchCut
	}
	return sum, nil
}

// lossTotals is what was reported as lost so far.
type lossTotals struct {
	at              int64 // Unix time of the last report
	missed, dropped uint64
}

// reportLoss emits what was lost since the last time.
func (t *Tracer) reportLoss(now int64, emit func(correlator.Event)) error {
	stats, err := t.Stats()
	if err != nil {
		return err
	}
	last := t.lost
	if last.at == 0 {
		last.at = now
	}
	t.lost = lossTotals{at: now, missed: stats.Missed, dropped: stats.Total.Dropped}
	for _, l := range []correlator.Loss{
		{From: correlator.LossKernelRing, Count: stats.Total.Dropped - last.dropped, First: last.at, Last: now},
		{From: correlator.LossKernelMissed, Count: stats.Missed - last.missed, First: last.at, Last: now},
	} {
		if l.Count > 0 {
			t.doubt = true
			emit(correlator.Event{Time: now, Kind: correlator.KindLoss, Loss: l})
		}
	}
	return nil
}
