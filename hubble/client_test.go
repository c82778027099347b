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
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
)

// epoch is the time of flow 0; flow n is n milliseconds later.
var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// numbered returns flow n: a plain ACK from port n of a pod.
func numbered(n int) *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{
		Time: timestamppb.New(epoch.Add(time.Duration(n) * time.Millisecond)), Uuid: fmt.Sprintf("flow-%d", n), NodeName: "node-a",
		Verdict: flow.Verdict_FORWARDED,
		IP:      &flow.IP{Source: "10.0.1.10", Destination: "192.0.2.1"},
		L4: &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: &flow.TCP{
			SourcePort: uint32(n), DestinationPort: 443, Flags: &flow.TCPFlags{ACK: true},
		}}},
		Source:    &flow.Endpoint{ID: 7, Identity: 1234, Namespace: "shop", PodName: "client-1"},
		EventType: &flow.CiliumEventType{Type: 4, SubType: 3}, TraceObservationPoint: flow.TraceObservationPoint_TO_STACK,
		TraceReason: flow.TraceReason_ESTABLISHED,
	}}}
}

func lost(source flow.LostEventSource, n uint64) *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{
		Time:          timestamppb.New(epoch),
		ResponseTypes: &observer.GetFlowsResponse_LostEvents{LostEvents: &flow.LostEvent{Source: source, NumEventsLost: n}},
	}
}

func serve(t *testing.T, cfg hubbletest.Config) *hubbletest.Server {
	t.Helper()
	srv, err := hubbletest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	return srv
}

// feed feeds the flows from..to, to included.
func feed(t *testing.T, srv *hubbletest.Server, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if err := srv.Feed(numbered(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// running is a client that follows a server, and what it emitted.
type running struct {
	*hubble.Client
	mu     sync.Mutex
	events []correlator.Event
}

// follow runs a client with short intervals until the test ends.
func follow(t *testing.T, cfg hubble.Config) *running {
	t.Helper()
	cfg.Follow, cfg.Since = true, epoch
	cfg.PollInterval, cfg.MinBackoff, cfg.MaxBackoff = 5*time.Millisecond, time.Millisecond, 20*time.Millisecond
	if cfg.StatusInterval == 0 {
		cfg.StatusInterval = 20 * time.Millisecond
	}
	c, err := hubble.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Client: c}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- c.Run(ctx, func(ev correlator.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, ev)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want the context's error", err)
		}
	})
	return r
}

// got returns the numbers of the flows emitted, and the losses.
func (r *running) got() (flows []int, losses []correlator.Loss) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.events {
		if ev.Kind == correlator.KindFlow {
			flows = append(flows, int(ev.Tuple.Src.Port))
		} else {
			losses = append(losses, ev.Loss)
		}
	}
	return flows, losses
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// wantFlows waits until the flows from..to were emitted, each once and in order.
func (r *running) wantFlows(t *testing.T, from, to int) {
	t.Helper()
	var want []int
	for n := from; n <= to; n++ {
		want = append(want, n)
	}
	eventually(t, fmt.Sprintf("flow %d", to), func() bool {
		flows, _ := r.got()
		return slices.Contains(flows, to)
	})
	if flows, _ := r.got(); !slices.Equal(flows, want) {
		t.Fatalf("got flows %v, want %d to %d once each", flows, from, to)
	}
}

func (r *running) wantLosses(t *testing.T, want ...correlator.LossSource) []correlator.Loss {
	t.Helper()
	eventually(t, fmt.Sprintf("%d losses", len(want)), func() bool {
		_, losses := r.got()
		return len(losses) >= len(want)
	})
	var from []correlator.LossSource
	_, losses := r.got()
	for _, l := range losses {
		from = append(from, l.From)
	}
	if !slices.Equal(from, want) {
		t.Fatalf("got losses %v, want %v", losses, want)
	}
	return losses
}

func TestFollowFromEmptyRing(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	r := follow(t, hubble.Config{Address: srv.Addr()})
	eventually(t, "the first status", func() bool { return r.Stats().ServerVersion != "" })
	feed(t, srv, 1, 1)
	time.Sleep(20 * time.Millisecond)
	if st := r.Stats(); st.Streams != 0 {
		t.Fatal("subscribed to a ring with one flow")
	}
	feed(t, srv, 2, 5)
	r.wantFlows(t, 1, 4) // the newest is withheld
	feed(t, srv, 6, 6)
	r.wantFlows(t, 1, 5)
	r.wantLosses(t)
	if st := r.Stats(); !st.Connected || st.Flows != 5 || st.LastError != "" {
		t.Errorf("stats %+v", st)
	}
}

func TestResumeWithoutRepeatsOrLoss(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	r := follow(t, hubble.Config{Address: srv.Addr()})
	feed(t, srv, 1, 100)
	r.wantFlows(t, 1, 99)
	for i := range 5 {
		srv.Halt()
		feed(t, srv, 101+i*100, 150+i*100) // while the client is away
		if err := srv.Resume(true); err != nil {
			t.Fatal(err)
		}
		feed(t, srv, 151+i*100, 200+i*100)
		r.wantFlows(t, 1, 199+i*100)
	}
	r.wantLosses(t)
	if st := r.Stats(); st.Restarts != 0 || st.Reconnects < 5 || st.Repeats == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestAgentRestartIsALoss(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	r := follow(t, hubble.Config{Address: srv.Addr()})
	feed(t, srv, 1, 10)
	r.wantFlows(t, 1, 9)
	srv.Halt()
	if err := srv.Resume(false); err != nil {
		t.Fatal(err)
	}
	feed(t, srv, 10, 15)
	r.wantFlows(t, 1, 14)
	l := r.wantLosses(t, correlator.LossHubbleRestart)[0]
	if first := epoch.Add(9 * time.Millisecond).UnixNano(); l.First != first || l.Last < first || l.Count != 0 {
		t.Errorf("loss %+v, want it to begin with the last flow at %d", l, first)
	}
	if st := r.Stats(); st.Restarts != 1 {
		t.Errorf("%d restarts, want 1", st.Restarts)
	}
}

func TestAwayTooLongIsALoss(t *testing.T) {
	srv := serve(t, hubbletest.Config{Capacity: 31, LostEventInterval: time.Nanosecond})
	r := follow(t, hubble.Config{Address: srv.Addr()})
	feed(t, srv, 1, 10)
	r.wantFlows(t, 1, 9)
	srv.Halt()
	feed(t, srv, 11, 60)
	if err := srv.Resume(true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "flow 59", func() bool {
		flows, _ := r.got()
		return slices.Contains(flows, 59)
	})
	// The server itself reports one event lost when it rewinds a whole ring.
	l := r.wantLosses(t, correlator.LossHubbleRing, correlator.LossHubbleRestart)[1]
	if l.First != epoch.Add(9*time.Millisecond).UnixNano() || l.Last != epoch.Add(29*time.Millisecond).UnixNano() {
		t.Errorf("loss %+v, want it to last from flow 9 to flow 29", l)
	}
}

func TestLostEvents(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	feed(t, srv, 1, 2)
	for n, source := range []flow.LostEventSource{
		flow.LostEventSource_PERF_EVENT_RING_BUFFER, flow.LostEventSource_OBSERVER_EVENTS_QUEUE,
	} {
		if err := srv.Feed(lost(source, uint64(10*n+1))); err != nil {
			t.Fatal(err)
		}
	}
	r := follow(t, hubble.Config{Address: srv.Addr()})
	feed(t, srv, 3, 4)
	r.wantFlows(t, 1, 3)
	for i, l := range r.wantLosses(t, correlator.LossHubblePerf, correlator.LossHubbleQueue) {
		if l.Count != uint64(10*i+1) || l.First == 0 || l.Last == 0 {
			t.Errorf("loss %+v", l)
		}
	}
	srv.Halt() // none of them counts twice
	if err := srv.Resume(true); err != nil {
		t.Fatal(err)
	}
	feed(t, srv, 5, 6)
	r.wantFlows(t, 1, 5)
	if st := r.Stats(); st.Lost != 1+11 {
		t.Errorf("%d events lost, want 12", st.Lost)
	}
}

func TestOnePassReadsEverything(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	for n := range 1000 {
		if err := srv.Feed(numbered(n)); err != nil {
			t.Fatal(err)
		}
	}
	srv.Seal()
	c, err := hubble.New(hubble.Config{Address: srv.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = c.Run(t.Context(), func(ev correlator.Event) {
		if int(ev.Tuple.Src.Port) != n {
			t.Fatalf("got flow %d, want %d", ev.Tuple.Src.Port, n)
		}
		n++
	})
	if err != nil || n != 1000 {
		t.Errorf("got %d flows and %v, want 1000", n, err)
	}
}
