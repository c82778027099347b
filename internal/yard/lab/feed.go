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
)

// feed brings what the datapath reports to the Observer and the witness.
type feed struct {
	reports  *datapath.Reports
	flows    *flowWriter
	observer *hubbletest.Server
	witness  *witness
	recorder *recording.Writer // nil: none
	lost     uint64
	lag      atomic.Int64 // nanoseconds from the last packet to its flow
}

// late reports whether Hubble is behind what happens: its flows' times would be
// those of an overwhelmed agent, and say little of the order of things.
func (f *feed) late() bool {
	return time.Duration(f.lag.Load()) > maxLag || f.observer.Behind() > maxBehind
}

const (
	maxLag    = 20 * time.Millisecond
	maxBehind = 50 // flows
)

// readWait is how often the feed looks whether it shall end, and what was lost.
const readWait = 200 * time.Millisecond

// pause follows when all was read, so that a burst wakes its reader once.
const pause = time.Millisecond

// run feeds until ctx ends and nothing is left to read.
func (f *feed) run(ctx context.Context) error {
	for {
		r, ok, err := f.reports.Read(time.Now().Add(readWait))
		if err != nil {
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
		now := time.Now()
		at, err := ktime()
		if err != nil {
			return err
		}
		f.lag.Store(int64(at - r.KTime))
		if r.What == datapath.Packet {
			if err := f.tell(f.flows.response(&r, now)); err != nil {
				return err
			}
		}
		f.witness.saw(&r, now)
		if r.Last {
			time.Sleep(pause)
		}
	}
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
	return f.observer.Feed(context.Background(), resp)
}
