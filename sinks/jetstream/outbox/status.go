// SPDX-License-Identifier: Apache-2.0

package outbox

import "fmt"

// Status is how an Outbox is doing. Counters count since Open.
type Status struct {
	Stored     uint64 // on disk
	Forwarded  uint64 // in NATS
	Waiting    uint64 // on disk and not in NATS
	Queued     int    // not on disk yet
	Overflowed uint64 // lost: too many waited for the disk
	Dropped    uint64 // lost: the outbox was full before NATS took them
	Refused    uint64 // lost: NATS, or the store, can never take them
	// Problem is why the disk takes nothing, Unsent why NATS does not; nil if
	// they do.
	Problem, Unsent error
}

// Lost is how many incidents are lost.
func (s Status) Lost() uint64 { return s.Overflowed + s.Dropped + s.Refused }

// Status returns the state of now.
func (o *Outbox) Status() Status {
	s := Status{
		Stored: o.counts.stored.Load(), Forwarded: o.counts.forwarded.Load(), Waiting: o.waiting(), Queued: int(o.counts.queued.Load()),
		Overflowed: o.counts.overflowed.Load(), Dropped: o.counts.dropped.Load(), Refused: o.counts.refused.Load(),
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Problem = o.problem
	if o.unsent != nil {
		s.Unsent = fmt.Errorf("forwarding incidents: %w", o.unsent)
	}
	return s
}
