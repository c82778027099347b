// SPDX-License-Identifier: Apache-2.0

package correlator

import "time"

// Order puts the events of several sources into the order of their times, as a
// Correlator does with what it observes, for others. It belongs to one goroutine.
type Order struct {
	reorder reorder
	release func(*Event)
}

// NewOrder returns one that holds events for hold, and for patience at most
// while flows are behind; of more than limit the oldest go at once. release is
// called with each, and must not keep it.
func NewOrder(hold, patience time.Duration, limit int, release func(*Event)) *Order {
	return &Order{newReorder(hold, max(hold, patience), limit, func([]Event) {}), release}
}

// Add takes an event. One whose time was released already is released at once.
func (o *Order) Add(ev *Event) {
	if ev.Kind == KindFlow {
		o.Heard(ev.Time)
	}
	o.Advance(ev.Time)
	o.reorder.shrink(o.release)
	if !o.reorder.add(ev) {
		o.release(ev)
	}
}

// Heard says that a flow of this time has come, though it is none to be added.
func (o *Order) Heard(at int64) {
	if at > 0 && at < maxTime {
		o.reorder.hear(at)
	}
}

// Advance moves the clock to now (Unix nanoseconds), and releases what is due.
func (o *Order) Advance(now int64) {
	if now < maxTime {
		o.reorder.advance(now, o.release)
	}
}
