// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"errors"
	"io"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"github.com/cilium/cilium/pkg/hubble/parser/fieldmask"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// batch is how many events are read from the ring at a time.
const batch = 64

// answer is one call of GetFlows.
type answer struct {
	server *Server
	req    *observer.GetFlowsRequest
	span   span
	filter match
	mask   fieldmask.FieldMask
	stream grpc.ServerStreamingServer[observer.GetFlowsResponse]

	masked *flow.Flow // used again for every flow
	sent   uint64     // flows sent
	missed uint64     // events overwritten and not yet told
	first  time.Time  // of what was missed
	last   time.Time
}

func (a *answer) run(rd *reader) error {
	var events [batch]entry
	for {
		if err := a.tellMissed(); err != nil {
			return err
		}
		n, lost, wait := rd.read(events[:])
		if lost > 0 {
			a.miss(uint64(lost))
			continue
		}
		for _, e := range events[:n] {
			if err := a.send(e); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
		if n > 0 {
			continue
		}
		if !a.span.follow {
			return nil
		}
		select {
		case <-wait:
		case <-a.stream.Context().Done():
			return a.stream.Context().Err()
		}
	}
}

func (a *answer) miss(n uint64) {
	a.last = time.Now()
	if a.missed == 0 {
		a.first = a.last
	}
	a.missed += n
}

// tellMissed reports missed events when they are old enough; like an agent it
// forgets those that are not when the stream ends.
func (a *answer) tellMissed() error {
	if a.missed == 0 || time.Since(a.first) < a.server.cfg.LostEventInterval {
		return nil
	}
	lost := &flow.LostEvent{
		Source: flow.LostEventSource_HUBBLE_RING_BUFFER, NumEventsLost: a.missed,
		First: timestamppb.New(a.first), Last: timestamppb.New(a.last),
	}
	a.missed = 0
	return a.sendLost(lost, time.Now())
}

func (a *answer) sendLost(lost *flow.LostEvent, at time.Time) error {
	return a.stream.Send(&observer.GetFlowsResponse{
		Time: timestamppb.New(at), NodeName: a.server.cfg.NodeName,
		ResponseTypes: &observer.GetFlowsResponse_LostEvents{LostEvents: lost},
	})
}

// send sends an event if it was asked for. io.EOF means that the request is
// answered.
func (a *answer) send(e entry) error {
	if e.lost != nil {
		if e.lost.GetSource() == flow.LostEventSource_HUBBLE_RING_BUFFER {
			a.miss(e.lost.GetNumEventsLost())
			return nil
		}
		return a.sendLost(e.lost, e.time)
	}
	if a.req.GetUntil() != nil && e.time.After(a.req.GetUntil().AsTime()) {
		return io.EOF
	}
	if e.time.Before(a.span.since) || !a.filter(e.flow) {
		return nil
	}
	if a.full() {
		return io.EOF
	}
	f := e.flow
	if a.mask.Active() {
		a.mask.Copy(a.masked.ProtoReflect(), f.ProtoReflect())
		f = a.masked
	}
	a.sent++
	err := a.stream.Send(&observer.GetFlowsResponse{
		Time: f.GetTime(), NodeName: f.GetNodeName(),
		ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: f},
	})
	if err == nil && a.full() {
		return io.EOF
	}
	return err
}

func (a *answer) full() bool {
	return !a.span.follow && a.span.number > 0 && a.sent >= a.span.number
}
