// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/timestamppb"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/kprobes"
)

// feed brings what the datapath reports to the Observer and the witness.
type feed struct {
	reports  *datapath.Reports
	flows    *flowWriter
	observer *hubbletest.Server
	witness  *witness
	recorder *recording.Writer // nil: none
	late     *lateness
	lost     uint64
	lag      atomic.Int64 // nanoseconds from the last packet to its flow
}

// behind reports whether Hubble is behind what happens, beyond what it shall be: its
// flows' times would be those of an overwhelmed agent, and say little of the order
// of things.
func (f *feed) behind() bool {
	return time.Duration(f.lag.Load()) > maxLag || f.observer.Behind() > maxBehind
}

const (
	maxLag    = 20 * time.Millisecond
	maxBehind = 50 // flows
)

// readWait is how often the feed looks whether it shall end, and what was lost.
const readWait = 200 * time.Millisecond

// dueWithin is how much later than due a flow may be.
const dueWithin = time.Millisecond

// pause follows when all was read, so that a burst wakes its reader once.
const pause = time.Millisecond

// run feeds until ctx ends and nothing is left to read.
func (f *feed) run(ctx context.Context) error {
	for {
		now := time.Now()
		until := now.Add(readWait)
		if _, due, ok := f.late.next(); ok && due.Before(until) {
			until = later(due, now.Add(dueWithin))
		}
		r, ok, err := f.reports.Read(until)
		if err != nil {
			return err
		}
		if err := f.tellDue(time.Now()); err != nil {
			return err
		}
		if !ok {
			f.lag.Store(0)
			if ctx.Err() != nil {
				return nil
			}
			if err := f.tellLoss(); err != nil {
				return err
			}
			continue
		}
		now = time.Now()
		at, _ := kprobes.Now()
		f.lag.Store(int64(at - r.KTime))
		fed := now
		if r.What == datapath.Packet {
			fed = f.late.hold(&r, now)
			if err := f.tellDue(now); err != nil {
				return err
			}
		}
		f.witness.saw(&r, fed)
		if r.Last {
			time.Sleep(pause)
		}
	}
}

// tellDue tells of the packets that are due by now.
func (f *feed) tellDue(now time.Time) error {
	for r := range f.late.take(now) {
		if err := f.tell(f.flows.response(r, now)); err != nil {
			return err
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// tellLoss has Hubble report lost events, as it does when its agent reads too
// slowly.
func (f *feed) tellLoss() error {
	lost, err := f.reports.Lost()
	if err != nil || lost == f.lost {
		return err
	}
	now := timestamppb.Now()
	event := &flow.LostEvent{Source: flow.LostEventSource_PERF_EVENT_RING_BUFFER, NumEventsLost: lost - f.lost, First: now, Last: now}
	f.lost = lost
	return f.tell(&observer.GetFlowsResponse{
		ResponseTypes: &observer.GetFlowsResponse_LostEvents{LostEvents: event}, NodeName: nodeName, Time: now,
	})
}

// tell gives a message to the Observer and the recording.
func (f *feed) tell(resp *observer.GetFlowsResponse) error {
	if f.recorder != nil {
		if err := f.recorder.Flow(resp); err != nil {
			return err
		}
	}
	// The ring does not wait for its readers.
	return f.observer.Feed(resp)
}
