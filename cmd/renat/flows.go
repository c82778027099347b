// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/recording"
)

// recordedFlows reads a recording's flows, those that a client would ask a node's
// Observer for.
type recordedFlows struct {
	rec *recording.Recording
	bad *recording.BadLines
	log zerolog.Logger

	until int64 // after Run: how far the file goes beyond the node's own flows, Unix nanoseconds
}

// Run implements source.
func (r *recordedFlows) Run(ctx context.Context, emit func(correlator.Event)) error {
	flows, name, err := r.rec.Flows()
	if err != nil {
		return err
	}
	if flows == nil {
		r.log.Warn().Str("recording", r.rec.Dir).Msg("the recording holds no flows: only what the kernel alone proves can be found")
		return nil
	}
	defer flows.Close()
	in, err := newIntake(r.rec)
	if err != nil {
		return err
	}
	order := inOrder{emit: emit}
	var last int64 // time of the flow before
	var tooMany error
	err = recording.DecodeLines(ctx, flows, func() func([]byte) flowLine {
		d := hubble.NewLineDecoder()
		d.Keep = in.keeper()
		return func(line []byte) (v flowLine) {
			v.ok, v.err = d.Decode(line, &v.ev)
			return v
		}
	}, func(n int, v flowLine, err error) error {
		switch err = cmp.Or(err, v.err); {
		case err != nil:
			tooMany = r.bad.Add(name, n, err)
			return tooMany
		case v.ok && v.ev.Kind == correlator.KindFlow:
			last = v.ev.Time
		case v.ok:
			date(&v.ev, last)
		}
		if v.ok {
			order.add(v.ev)
		}
		return nil
	})
	order.end()
	if err != nil && tooMany == nil && ctx.Err() == nil {
		err = fmt.Errorf("reading %s: %w", name, err)
	}
	in.sum()
	r.until = in.until
	in.report(r.log, name, order.flows, order.ahead)
	return err
}

// badLines logs each line that is skipped, of max before it gives up.
func badLines(log zerolog.Logger, max int) *recording.BadLines {
	return &recording.BadLines{Max: max, Report: func(file string, line int, err error) {
		log.Warn().Str("file", file).Int("line", line).Err(err).Msg("skipping a line")
	}}
}

// flowLine is what a line of flows became.
type flowLine struct {
	ev  correlator.Event
	ok  bool
	err error
}

// date gives a loss without times the time of the flow before.
func date(ev *correlator.Event, last int64) {
	ev.Time = cmp.Or(ev.Time, ev.Loss.Last, last)
	for _, t := range []*int64{&ev.Loss.First, &ev.Loss.Last} {
		if *t == 0 {
			*t = ev.Time
		}
	}
}
