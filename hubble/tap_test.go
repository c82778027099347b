// SPDX-License-Identifier: Apache-2.0

package hubble_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
)

// tapped is a message and the event made of it.
type tapped struct {
	ev   correlator.Event
	resp *observer.GetFlowsResponse
}

func (m tapped) String() string {
	switch {
	case m.resp == nil:
		return "synthetic " + m.ev.Loss.From.String()
	case m.resp.GetLostEvents() != nil:
		return "message " + m.ev.Loss.From.String()
	case m.ev.Kind == correlator.KindLoss:
		return m.resp.GetFlow().GetUuid() + " " + m.ev.Loss.From.String()
	}
	return fmt.Sprintf("%s kind %d", m.resp.GetFlow().GetUuid(), m.ev.Kind)
}

// TestTap has a server go away twice, once with its ring: every message comes
// once and whole, and losses that no message told come without one.
func TestTap(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	c, err := hubble.New(hubble.Config{
		Address: srv.Addr(), Follow: true, Since: epoch,
		PollInterval: 5 * time.Millisecond, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []tapped
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Tap(ctx, func(ev correlator.Event, resp *observer.GetFlowsResponse) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, tapped{ev, resp})
		})
	}()
	wait := func(last string) {
		t.Helper()
		eventually(t, last, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got) > 0 && got[len(got)-1].String() == last
		})
	}

	whole := numbered(1)
	whole.GetFlow().Ethernet = &flow.Ethernet{Source: "not in the mask"}
	want := proto.CloneOf(whole.GetFlow())
	ping := numbered(2)
	ping.GetFlow().TraceObservationPoint = flow.TraceObservationPoint_TO_ENDPOINT
	ping.GetFlow().IP.Source = "nowhere"
	for _, resp := range []*observer.GetFlowsResponse{whole, ping, lost(flow.LostEventSource_PERF_EVENT_RING_BUFFER, 3), numbered(3), numbered(4)} {
		if err := srv.Feed(resp); err != nil {
			t.Fatal(err)
		}
	}
	wait("flow-3 kind 1")
	srv.Halt()
	if err := srv.Resume(true); err != nil {
		t.Fatal(err)
	}
	feed(t, srv, 5, 6)
	wait("flow-5 kind 1")
	srv.Halt()
	if err := srv.Resume(false); err != nil {
		t.Fatal(err)
	}
	feed(t, srv, 7, 9)
	wait("flow-8 kind 1")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	var names []string
	for _, m := range got {
		names = append(names, m.String())
	}
	wanted := []string{
		"flow-1 kind 1", "flow-2 hubble_decode", "message hubble_perf_ring", "flow-3 kind 1", "flow-4 kind 1",
		"flow-5 kind 1", "synthetic hubble_restart", "flow-7 kind 1", "flow-8 kind 1",
	}
	if !slices.Equal(names, wanted) {
		t.Errorf("got  %v\nwant %v", names, wanted)
	}
	if !proto.Equal(got[0].resp.GetFlow(), want) {
		t.Errorf("the first flow came as %v", got[0].resp)
	}
	if !proto.Equal(got[0].resp.GetTime(), timestamppb.New(epoch.Add(time.Millisecond))) || got[0].resp.GetNodeName() != "node-a" {
		t.Errorf("its message came as %v", got[0].resp)
	}
}
