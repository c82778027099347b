// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/renat-project/renat/correlator"
)

// source is where events come from; it emits from one goroutine.
type source interface {
	Run(ctx context.Context, emit func(correlator.Event)) error
}

// mergeBatch is how many events cross from a source's goroutine at once.
const mergeBatch = 256

// merge runs the sources at the same time and calls observe with their events,
// always with the earliest that any of them has next: sources that are read at
// different speeds then arrive as they would have on the node. It returns when
// all have ended, with their errors; one that fails does not stop the others,
// because what they still have may belong to what was read before.
func merge(ctx context.Context, observe func(*correlator.Event), sources ...source) error {
	inputs := make([]*input, len(sources))
	for i, s := range sources {
		inputs[i] = &input{batches: make(chan []correlator.Event, 4)}
		go inputs[i].pump(ctx, s)
	}
	var last int64
	for {
		var next *input
		for _, in := range inputs {
			if in.peek() && (next == nil || in.events[0].Time < next.events[0].Time) {
				next = in
			}
		}
		if next == nil {
			break
		}
		ev := &next.events[0]
		if ev.Time <= 0 && ev.Kind == correlator.KindLoss {
			ev.Time = max(last, 1) // a loss before the source's first event
		}
		last = max(last, ev.Time)
		observe(ev)
		next.events = next.events[1:]
	}
	var errs []error
	for _, in := range inputs {
		errs = append(errs, in.err)
	}
	return errors.Join(errs...)
}

// input is the receiving end of a source.
type input struct {
	batches chan []correlator.Event
	events  []correlator.Event // of the current batch
	err     error              // the source's; to be read when batches is closed
}

// peek waits for the next event and reports false at the end.
func (in *input) peek() bool {
	for len(in.events) == 0 {
		batch, ok := <-in.batches
		if !ok {
			return false
		}
		in.events = batch
	}
	return true
}

// pump runs the source to its end.
func (in *input) pump(ctx context.Context, s source) {
	defer close(in.batches)
	var batch []correlator.Event
	send := func() {
		select {
		case in.batches <- batch:
		case <-ctx.Done():
		}
		batch = nil
	}
	in.err = s.Run(ctx, func(ev correlator.Event) {
		if batch == nil {
			batch = make([]correlator.Event, 0, mergeBatch)
		}
		if batch = append(batch, ev); len(batch) == mergeBatch {
			send()
		}
	})
	if len(batch) > 0 {
		send()
	}
}
