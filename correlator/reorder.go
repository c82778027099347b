// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// slot is the width of a bucket of the reorder buffer: how much later than
// Config.Hold an event may be released.
const slot = int64(time.Millisecond)

// reorder holds events back until no earlier one is expected. It is a ring of
// buckets, one per slot of event time; buckets keep their capacity, so that a
// steady stream allocates nothing.
type reorder struct {
	buckets []bucket
	next    int64 // number (time/slot) of the oldest bucket not released yet
	now     int64 // newest time seen, in nanoseconds
	hold    int64
	size    int
	max     int
}

type bucket struct {
	events []Event
	sorted bool
}

func newReorder(hold time.Duration, limit int) reorder {
	// One bucket for the partial slot at each end of the hold.
	return reorder{buckets: make([]bucket, int64(hold)/slot+2), hold: int64(hold), max: limit}
}

// add buffers ev and reports false when its time was released already.
func (r *reorder) add(ev *Event) bool {
	n := ev.Time / slot
	if n < r.next {
		return false
	}
	b := &r.buckets[n%int64(len(r.buckets))]
	if k := len(b.events); k == 0 {
		b.sorted = true
	} else if b.sorted && compareEvents(&b.events[k-1], ev) > 0 {
		b.sorted = false
	}
	b.events = append(b.events, *ev)
	r.size++
	return true
}

// advance moves the clock to now, if that is later, and releases what is due.
func (r *reorder) advance(now int64, release func(*Event)) {
	if now <= r.now {
		return
	}
	r.now = now
	due := (now - r.hold) / slot // this slot may still get events
	if r.size == 0 {
		r.next = max(r.next, due)
		return
	}
	r.releaseBefore(due, release)
}

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
	r.releaseBefore(r.now/slot+1, release)
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
		if !b.sorted {
			slices.SortFunc(b.events, func(a, b Event) int { return compareEvents(&a, &b) })
		}
		r.size -= len(b.events)
		for i := range b.events {
			release(&b.events[i])
		}
		clear(b.events) // let go of the pointers
		b.events = b.events[:0]
	}
}

// compareEvents orders by event time. Equal times are ordered by content, so
// that the order of arrival can never show.
func compareEvents(a, b *Event) int {
	if a.Time != b.Time {
		return cmp.Compare(a.Time, b.Time)
	}
	if c := cmp.Or(
		cmp.Compare(b.Kind, a.Kind), // kernel before flows: a flow is stamped after its packet
		cmp.Compare(a.NAT.KTime, b.NAT.KTime),
		compareOps(a.NAT.Op, b.NAT.Op),
		cmp.Compare(a.NAT.Dir, b.NAT.Dir),
		cmp.Compare(a.NAT.Errno, b.NAT.Errno),
		cmp.Compare(a.Flow.Flags, b.Flow.Flags),
		cmp.Compare(a.Flow.Point, b.Flow.Point),
		cmp.Compare(a.Flow.Reason, b.Flow.Reason),
		compareTuples(&a.Tuple, &b.Tuple),
		compareAddrs(&a.NAT.To, &b.NAT.To),
	); c != 0 {
		return c
	}
	return cmp.Compare(a.Loss.Count, b.Loss.Count)
}

// compareOps puts removals before inserts: what comes back was gone before.
func compareOps(a, b Op) int { return cmp.Compare(b, a) }

func compareTuples(a, b *Tuple) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), compareAddrs(&a.Src, &b.Src), compareAddrs(&a.Dst, &b.Dst))
}

func compareAddrs(a, b *Addr) int {
	return cmp.Or(bytes.Compare(a.IP[:], b.IP[:]), cmp.Compare(a.Port, b.Port))
}
