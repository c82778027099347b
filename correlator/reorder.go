// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// A bucket of the reorder buffer is at least minSlot wide, and there are about
// maxSlots at most: an event may be released that much later than Config.Hold.
const (
	minSlot  = time.Millisecond
	maxSlots = 4096
)

// reorder holds events back until no earlier one is expected. It is a ring of
// buckets, each for a slot of event time; what buckets are emptied of, others
// are filled into, so that a steady stream allocates nothing.
type reorder struct {
	buckets  []bucket
	slot     int64 // width of a bucket in nanoseconds
	next     int64 // number (time/slot) of the oldest bucket not released yet
	now      int64 // newest time seen, in nanoseconds
	heard    int64 // newest time of a flow
	heardAt  int64 // what was now when it came
	read     int64 // no map operation before it comes any more
	hold     int64
	patience int64 // at least hold
	size     int
	max      int
	spare    [][]Event // empty, with capacity
	order    []*Event  // of the bucket that is released; kept for its memory
	room     int       // events that all arrays have room for, of buckets and spare
	// upcoming is told of the events that are released next.
	upcoming func([]Event)
}

type bucket struct {
	events []Event
	sorted bool
}

func newReorder(hold, patience time.Duration, limit int, upcoming func([]Event)) reorder {
	slot := int64(max(minSlot, patience/maxSlots))
	// One bucket more for the partial slot at each end.
	return reorder{
		buckets: make([]bucket, int64(patience)/slot+2), slot: slot, hold: int64(hold), patience: int64(patience),
		max: limit, upcoming: upcoming, read: maxTime,
	}
}

// add buffers ev and reports false when its time was released already.
func (r *reorder) add(ev *Event) bool {
	n := ev.Time / r.slot
	if n < r.next {
		return false
	}
	b := &r.buckets[n%int64(len(r.buckets))]
	if k := len(b.events); k == 0 {
		b.sorted = true
		if n := len(r.spare); n > 0 {
			b.events, r.spare = r.spare[n-1], r.spare[:n-1]
		}
	} else if b.sorted && compareEvents(&b.events[k-1], ev) > 0 {
		b.sorted = false
	}
	had := cap(b.events)
	b.events = append(b.events, *ev)
	r.room += cap(b.events) - had
	r.size++
	return true
}

// advance moves the clock to now, if that is later, and releases what is due.
func (r *reorder) advance(now int64, release func(*Event)) {
	if now <= r.now {
		return
	}
	r.now = now
	due := r.due() / r.slot // this slot may still get events
	if r.size == 0 {
		r.next = max(r.next, due)
		return
	}
	r.releaseBefore(due, release)
}

// due is the time before which no event is expected any more: none is on its
// way for longer than hold but map operations that nobody has read yet, and
// flows; those come in their order, so that all before the newest have come, or
// were lost.
func (r *reorder) due() int64 {
	flows := r.heard
	if r.now-r.heardAt >= r.hold {
		flows += r.slot + breath // nor do others of its time come
	}
	return max(min(r.now-r.hold, flows, r.read), r.now-r.patience)
}

// reaches is when a time is released, if no flow comes before and all map
// operations are read by then.
func (r *reorder) reaches(at int64) int64 {
	end := (at/r.slot + 1) * r.slot
	switch {
	case r.heard >= end:
		return end + r.hold
	case r.heard+r.slot+breath >= end:
		return min(max(end, r.heardAt)+r.hold, end+r.patience)
	}
	return end + r.patience
}

// oldest is the time of the oldest slot that holds an event, maxTime if none does.
func (r *reorder) oldest() int64 {
	if r.size == 0 {
		return maxTime
	}
	n := r.next
	for len(r.buckets[n%int64(len(r.buckets))].events) == 0 {
		n++
	}
	return n * r.slot
}

// hear notes a flow's time.
func (r *reorder) hear(at int64) {
	if at > r.heard {
		r.heard, r.heardAt = at, r.now
	}
}

// released is the time before which every event has been released.
func (r *reorder) released() int64 { return r.next * r.slot }

// shrink releases the oldest events until the buffer is below its limit and
// returns how many it released before their time.
func (r *reorder) shrink(release func(*Event)) (early int) {
	for r.size >= r.max {
		before := r.size
		r.releaseBefore(r.next+1, release)
		early += before - r.size
	}
	return early
}

// flush releases everything.
func (r *reorder) flush(release func(*Event)) {
	r.releaseBefore(r.now/r.slot+1, release)
}

func (r *reorder) releaseBefore(n int64, release func(*Event)) {
	for r.next < n {
		if r.size == 0 {
			r.next = n
			return
		}
		b := &r.buckets[r.next%int64(len(r.buckets))]
		r.next++
		if len(b.events) == 0 {
			continue
		}
		r.order = r.order[:0]
		for i := range b.events {
			r.order = append(r.order, &b.events[i])
		}
		if !b.sorted {
			slices.SortFunc(r.order, compareEvents)
		}
		r.size -= len(b.events)
		r.upcoming(b.events)
		for _, ev := range r.order {
			release(ev)
		}
		clear(b.events) // let go of the pointers
		r.keep(b.events[:0])
		b.events = nil
	}
}

// keep makes an array another bucket's, unless all of them have room for more
// than may ever be held: each array grows to the greatest burst that it took,
// and bursts go around. What is held itself adds twice its size at most.
func (r *reorder) keep(events []Event) {
	r.spare = append(r.spare, events)
	if r.room <= r.max {
		return
	}
	for _, s := range r.spare {
		r.room -= cap(s)
	}
	clear(r.spare)
	r.spare = r.spare[:0]
}

// compareEvents orders by event time. Equal times are ordered by content, so
// that the order of arrival can never show.
func compareEvents(a, b *Event) int {
	if a.Time != b.Time {
		return cmp.Compare(a.Time, b.Time)
	}
	return cmp.Or(
		cmp.Compare(b.Kind, a.Kind), // kernel before flows: a flow is stamped after its packet
		cmp.Compare(a.NAT.KTime, b.NAT.KTime),
		compareOps(a.NAT.Op, b.NAT.Op),
		compareTuples(&a.Tuple, &b.Tuple),
		compareFlows(&a.Flow, &b.Flow),
		compareChanges(&a.NAT, &b.NAT),
		cmp.Compare(a.Loss.From, b.Loss.From),
		cmp.Compare(a.Loss.Count, b.Loss.Count),
	)
}

func compareFlows(a, b *Flow) int {
	return cmp.Or(
		cmp.Compare(a.Flags, b.Flags),
		cmp.Compare(a.Point, b.Point),
		cmp.Compare(a.Reason, b.Reason),
		cmp.Compare(a.DropReason, b.DropReason),
		bytes.Compare(a.Xlated[:], b.Xlated[:]),
		comparePeers(a.Src, b.Src),
		comparePeers(a.Dst, b.Dst),
	)
}

func compareChanges(a, b *NATChange) int {
	c := cmp.Or(
		cmp.Compare(a.Dir, b.Dir),
		cmp.Compare(a.Errno, b.Errno),
		compareAddrs(&a.To, &b.To),
		compareBools(a.Forced, b.Forced),
	)
	if c != 0 || a.Caller == b.Caller {
		return c
	}
	if a.Caller == nil || b.Caller == nil {
		return compareBools(a.Caller != nil, b.Caller != nil)
	}
	return cmp.Or(cmp.Compare(a.Caller.Program, b.Caller.Program), cmp.Compare(a.Caller.Comm, b.Caller.Comm))
}

func comparePeers(a, b *Peer) int {
	if a == nil || b == nil {
		return compareBools(a != nil, b != nil)
	}
	return cmp.Or(
		cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Workload, b.Workload),
		slices.Compare(a.Labels, b.Labels), slices.Compare(a.Names, b.Names),
	)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// compareOps puts removals before inserts: what comes back was gone before.
func compareOps(a, b Op) int { return cmp.Compare(b, a) }

func compareTuples(a, b *Tuple) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), compareAddrs(&a.Src, &b.Src), compareAddrs(&a.Dst, &b.Dst))
}

func compareAddrs(a, b *Addr) int {
	return cmp.Or(bytes.Compare(a.IP[:], b.IP[:]), cmp.Compare(a.Port, b.Port))
}
