// SPDX-License-Identifier: Apache-2.0

package hubble_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
)

// odd is a server that differs from a current agent.
type odd struct {
	*hubbletest.Server
	pretend  atomic.Int32 // how many more statuses show a ring that can be read
	maskless bool         // it refuses field masks
	streams  atomic.Int32
}

func (o *odd) ServerStatus(ctx context.Context, req *observer.ServerStatusRequest) (*observer.ServerStatusResponse, error) {
	st, err := o.Server.ServerStatus(ctx, req)
	if err == nil && o.pretend.Add(-1) >= 0 {
		st.NumFlows = 2
	}
	return st, err
}

func (o *odd) GetFlows(req *observer.GetFlowsRequest, stream grpc.ServerStreamingServer[observer.GetFlowsResponse]) error {
	if o.maskless && req.GetFieldMask() != nil {
		return errors.New("invalid fieldmask")
	}
	o.streams.Add(1)
	return o.Server.GetFlows(req, stream)
}

// serveOdd returns the address of o.
func serveOdd(t *testing.T, o *odd) string {
	t.Helper()
	o.Server = serve(t, hubbletest.Config{})
	return listen(t, func(g *grpc.Server) { observer.RegisterObserverServer(g, o) })
}

func listen(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	register(g)
	go func() { _ = g.Serve(l) }() // ends with Stop
	t.Cleanup(g.Stop)
	return "unix://" + path
}

// An agent that restarts between the status and the subscription leaves the
// client following an empty ring, which stays silent for 4,095 events.
func TestSilentStreamIsSubscribedAgain(t *testing.T) {
	o := &odd{}
	o.pretend.Store(1)
	r := follow(t, hubble.Config{Address: serveOdd(t, o)})
	eventually(t, "a stream that reads", func() bool { return o.Readers() == 1 })
	feed(t, o.Server, 1, 10)
	r.wantFlows(t, 1, 9)
	r.wantLosses(t)
	if n := o.streams.Load(); n < 2 {
		t.Errorf("%d streams, want another one", n)
	}
	feed(t, o.Server, 11, 20)
	r.wantFlows(t, 1, 19)
}

func TestSilenceWithoutFlowsIsLeftAlone(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	feed(t, srv, 1, 5)
	r := follow(t, hubble.Config{Address: srv.Addr(), StatusInterval: time.Millisecond})
	r.wantFlows(t, 1, 4)
	time.Sleep(50 * time.Millisecond)
	if st := r.Stats(); st.Streams != 1 {
		t.Errorf("%d streams, want 1", st.Streams)
	}
}

func TestServerThatRefusesTheMask(t *testing.T) {
	o := &odd{maskless: true}
	addr := serveOdd(t, o)
	feed(t, o.Server, 1, 10)
	follow(t, hubble.Config{Address: addr}).wantFlows(t, 1, 9)
}

func TestServerThatComesLate(t *testing.T) {
	addr := "unix://" + filepath.Join(t.TempDir(), "hubble.sock")
	r := follow(t, hubble.Config{Address: addr})
	eventually(t, "an error", func() bool { return r.Stats().LastError != "" })
	if e := r.Stats().LastError; !strings.Contains(e, addr) || !strings.Contains(e, "is Cilium running") {
		t.Errorf("error %q names neither the address nor what to do", e)
	}
	feed(t, serve(t, hubbletest.Config{Listen: addr}), 1, 3)
	r.wantFlows(t, 1, 2)
}

func TestUnusableFlowsAreLosses(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	for n, spoil := range []func(*flow.Flow){
		func(f *flow.Flow) { f.Time = nil },
		func(f *flow.Flow) { f.Time = &timestamppb.Timestamp{Nanos: -1} },
		func(f *flow.Flow) { f.Time = &timestamppb.Timestamp{Seconds: 1 << 60} },
		func(f *flow.Flow) { f.IP.Source = "10.0.0.256" },
		func(f *flow.Flow) { f.IP.Destination = "fe80::1%eth0" },
		func(f *flow.Flow) { f.IP = nil },
		func(f *flow.Flow) { f.GetL4().GetTCP().SourcePort = 65536 },
	} {
		resp := numbered(n)
		resp.Time = timestamppb.New(epoch)
		spoil(resp.GetFlow())
		if err := srv.Feed(resp); err != nil {
			t.Fatal(err)
		}
	}
	feed(t, srv, 20, 21)
	r := follow(t, hubble.Config{Address: srv.Addr()})
	r.wantFlows(t, 20, 20)
	for _, l := range r.wantLosses(t, slices.Repeat([]correlator.LossSource{correlator.LossHubbleDecode}, 7)...) {
		if l.Count != 1 || l.First == 0 {
			t.Errorf("loss %+v", l)
		}
	}
	if st := r.Stats(); st.Undecodable != 7 {
		t.Errorf("%d undecodable, want 7", st.Undecodable)
	}
}

// overlay lets the flow be one that goes to another node's pod.
func overlay(f *flow.Flow, reply bool) {
	f.EventType.SubType, f.TraceObservationPoint = 4, flow.TraceObservationPoint_TO_OVERLAY
	f.IsReply = wrapperspb.Bool(reply)
}

func TestOnlyWantedFlowsAreAskedFor(t *testing.T) {
	srv := serve(t, hubbletest.Config{})
	for n, change := range []func(*flow.Flow){
		func(*flow.Flow) {}, // 0: wanted
		func(f *flow.Flow) { f.IP.Destination = "10.9.9.9" },                                              // both in 10/8
		func(f *flow.Flow) { f.EventType.SubType = 5 },                                                    // from-endpoint
		func(f *flow.Flow) { f.L4 = &flow.Layer4{Protocol: &flow.Layer4_ICMPv4{ICMPv4: &flow.ICMPv4{}}} }, // no ports
		func(f *flow.Flow) {
			f.EventType.Type, f.Verdict, f.DropReasonDesc = 1, flow.Verdict_DROPPED, flow.DropReason_POLICY_DENIED
			f.L4.GetTCP().Flags = &flow.TCPFlags{SYN: true}
		}, // an opening that policy denies
		func(f *flow.Flow) {
			f.EventType.Type, f.Verdict, f.DropReasonDesc = 1, flow.Verdict_DROPPED, flow.DropReason_SNAT_NO_MAP_FOUND
		}, // 5: wanted
		func(f *flow.Flow) { // 6: wanted, an answer that an egress gateway passes on
			overlay(f, true)
			f.Source = &flow.Endpoint{Identity: 1 << 24, Labels: []string{"cidr:192.0.2.0/24", "reserved:world-ipv4"}}
		},
		func(f *flow.Flow) { overlay(f, true) }, // a pod's answer to another node's pod
		func(f *flow.Flow) { overlay(f, false) },
		func(f *flow.Flow) {
			f.EventType.Type, f.Verdict, f.DropReasonDesc = 1, flow.Verdict_DROPPED, flow.DropReason_POLICY_DENIED
		}, // 9: wanted, of what may be a connection
	} {
		resp := numbered(n)
		change(resp.GetFlow())
		if err := srv.Feed(resp); err != nil {
			t.Fatal(err)
		}
	}
	srv.Seal()
	c, err := hubble.New(hubble.Config{Address: srv.Addr(), ExcludeCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	var ports []uint16
	if err := c.Run(t.Context(), func(ev correlator.Event) { ports = append(ports, ev.Tuple.Src.Port) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ports, []uint16{0, 5, 6, 9}) {
		t.Errorf("got flows %v, want 0, 5, 6 and 9", ports)
	}
	if st := c.Stats(); st.Ignored != 0 {
		t.Errorf("%d flows were sent in vain", st.Ignored)
	}
}
