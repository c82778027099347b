// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"

	"github.com/renat-project/renat/correlator"
)

// inOrder keeps flows whose stamps lie ahead of those that follow from moving
// the correlator's clock, which would make all others late: a clock that was
// set, or one flow that is wrong. Live the clock of the node holds them back; in
// a file only what follows tells.
type inOrder struct {
	emit  func(correlator.Event)
	last  int64              // of the event emitted last
	held  []correlator.Event // events that lie aheadMax or more ahead of it
	flows int                // emitted
	ahead int                // flows left out
}

// heldMax is how many events ahead are a gap in the recording, not an error.
const heldMax = 256

// add takes the next event.
func (o *inOrder) add(ev correlator.Event) {
	switch {
	case ev.Time <= 0 || ev.Time < o.last+int64(aheadMax) && o.last != 0:
		if len(o.held) > 0 && ev.Kind == correlator.KindFlow {
			o.leaveOut(ev.Time)
		}
		o.pass(ev)
	default: // of the first event, too, only the second tells
		o.held = append(o.held, ev)
		o.leaveOut(ev.Time)
		if len(o.held) == heldMax {
			o.end()
		}
	}
}

// leaveOut drops the held flows that lie ahead of one that came after them.
func (o *inOrder) leaveOut(at int64) {
	o.held = slices.DeleteFunc(o.held, func(h correlator.Event) bool {
		wrong := h.Time > at+int64(aheadMax) && h.Kind == correlator.KindFlow
		if wrong {
			o.ahead++
		}
		return wrong
	})
}

// end passes what is held: nothing follows that says otherwise.
func (o *inOrder) end() {
	for _, ev := range o.held {
		o.pass(ev)
	}
	o.held = o.held[:0]
}

func (o *inOrder) pass(ev correlator.Event) {
	if ev.Kind == correlator.KindFlow {
		o.flows++
	}
	o.last = max(o.last, ev.Time)
	o.emit(ev)
}
