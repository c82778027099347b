// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"github.com/cilium/cilium/api/v1/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/hubble/proxy"
)

// requests are of every kind, also wrong ones.
func requests(flows []*observer.GetFlowsResponse) map[string]*observer.GetFlowsRequest {
	at := flows[len(flows)/2].GetTime()
	return map[string]*observer.GetFlowsRequest{
		"all":          {First: true, Number: 100_000},
		"first":        {First: true, Number: 5},
		"last":         {Number: 7},
		"since":        {Since: at, Number: 10},
		"until":        {First: true, Number: 1000, Until: at},
		"filter":       {Number: 100, Whitelist: []*flow.FlowFilter{{DestinationPort: []string{"80"}}}},
		"deny":         {Number: 100, Blacklist: []*flow.FlowFilter{{SourcePod: []string{"shop/"}}}},
		"wrong filter": {Number: 100, Whitelist: []*flow.FlowFilter{{DestinationPort: []string{"x"}}}},
		"mask":         {Number: 100, FieldMask: &fieldmaskpb.FieldMask{Paths: []string{"time", "node_name", "IP", "l4"}}},
		"wrong mask":   {FieldMask: &fieldmaskpb.FieldMask{Paths: []string{"nonsense"}}},
		"wrong span":   {First: true, Follow: true},
		"wrong time":   {Since: &timestamppb.Timestamp{Nanos: -1}},
	}
}

// TestNothingElseChanges compares all that a client sees with what it sees
// without a proxy.
func TestNothingElseChanges(t *testing.T) {
	flows := recorded(t)
	server := observe(t, hubbletest.Config{Version: "cilium v1.20.2"})
	for _, f := range flows {
		if err := server.Feed(f); err != nil {
			t.Fatal(err)
		}
	}
	address, p := front(t, proxy.Config{Upstream: server.Addr(), Source: ignorant{}})
	enriched, _ := front(t, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	direct, through, adding := connect(t, server.Addr()), connect(t, address), connect(t, enriched)
	total := 0
	for name, req := range requests(flows) {
		want, got, more := ask(t, direct, req), ask(t, through, req), ask(t, adding, req)
		total += len(want.flows)
		equal := func(a, b *observer.GetFlowsResponse) bool { return proto.Equal(a, b) }
		if !slices.EqualFunc(got.flows, want.flows, equal) {
			t.Errorf("%s: %d flows differ from %d", name, len(got.flows), len(want.flows))
		}
		if got.code != want.code || got.message != want.message || got.header.Get("hubble-server-version") == nil != (want.header.Get("hubble-server-version") == nil) {
			t.Errorf("%s: ends with %v %q and %v, want %v %q and %v", name, got.code, got.message, got.header, want.code, want.message, want.header)
		}
		if !slices.EqualFunc(more.flows, want.flows, sameBut(t, req)) {
			t.Errorf("%s: %d flows with additions differ from %d", name, len(more.flows), len(want.flows))
		}
	}
	if s := p.Stats(); s.Flows != uint64(total) || s.Enriched != 0 || s.Calls != uint64(len(requests(flows))) {
		t.Errorf("%d flows counted as %+v", total, s)
	}
}

// sameBut compares a flow with additions with one without, and checks that the
// additions are what was asked for.
func sameBut(t *testing.T, req *observer.GetFlowsRequest) func(got, want *observer.GetFlowsResponse) bool {
	return func(got, want *observer.GetFlowsResponse) bool {
		got, want = proto.CloneOf(got), proto.CloneOf(want)
		f := got.GetFlow()
		added := f.GetExtensions() != nil
		if _, rest, ok := strings.Cut(f.GetSummary(), "SNAT 192.0.2.1:61565 (was :"); ok != added || added && !strings.HasSuffix(rest, "); renat:142cbfff") { //nolint:staticcheck // it is what the tools show
			t.Errorf("summary %q and extension %v", f.GetSummary(), f.GetExtensions()) //nolint:staticcheck // as above
		}
		if added && len(req.GetFieldMask().GetPaths()) > 0 {
			t.Error("an extension that the mask does not have")
		}
		if added {
			f.Extensions, f.Summary, want.GetFlow().Summary = nil, "", "" //nolint:staticcheck // as above
		}
		return proto.Equal(got, want)
	}
}

func TestOtherCallsPass(t *testing.T) {
	server := observe(t, hubbletest.Config{Version: "cilium v1.20.2", NodeName: "node-7"})
	if err := server.Feed(recorded(t)[0]); err != nil {
		t.Fatal(err)
	}
	address, _ := front(t, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	conn := connect(t, address)
	ctx, client := t.Context(), observer.NewObserverClient(conn)
	var header metadata.MD
	if s, err := client.ServerStatus(ctx, &observer.ServerStatusRequest{}, grpc.Header(&header)); err != nil || s.GetSeenFlows() != 1 {
		t.Errorf("status %v, %v", s, err)
	}
	if v := header.Get("hubble-server-version"); len(v) != 1 || v[0] != "cilium v1.20.2" {
		t.Errorf("header %v", header)
	}
	if n, err := client.GetNodes(ctx, &observer.GetNodesRequest{}); err != nil || n.GetNodes()[0].GetName() != "node-7" {
		t.Errorf("nodes %v, %v", n, err)
	}
	if n, err := client.GetNamespaces(ctx, &observer.GetNamespacesRequest{}); err != nil || len(n.GetNamespaces()) != 1 {
		t.Errorf("namespaces %v, %v", n, err)
	}
	if _, err := client.GetAgentEvents(ctx, &observer.GetAgentEventsRequest{}); err != nil {
		t.Error(err)
	}
	health := healthpb.NewHealthClient(conn)
	if h, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: "hubble.server.Observer"}); err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health %v, %v", h, err)
	}
	if _, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: "x"}); status.Code(err) != codes.NotFound {
		t.Errorf("health of an unknown service: %v", err)
	}
	notify, err := peer.NewPeerClient(conn).Notify(ctx, &peer.NotifyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := notify.Recv(); err != nil || n.GetName() != "node-7" {
		t.Errorf("peer %v, %v", n, err)
	}
	reflect, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	for range 2 {
		if err := reflect.Send(list); err != nil {
			t.Fatal(err)
		}
		if r, err := reflect.Recv(); err != nil || len(r.GetListServicesResponse().GetService()) < 4 {
			t.Errorf("services %v, %v", r, err)
		}
	}
	// Nothing else is there, whatever the Observer behind has.
	err = conn.Invoke(ctx, "/some.Other/Call", &emptypb.Empty{}, &emptypb.Empty{})
	if want := connect(t, server.Addr()).Invoke(ctx, "/some.Other/Call", &emptypb.Empty{}, &emptypb.Empty{}); err.Error() != want.Error() {
		t.Errorf("got %v, want %v", err, want)
	}
}

// TestObserverGoesAndComesBack stops and starts the Observer behind.
func TestObserverGoesAndComesBack(t *testing.T) {
	server := observe(t, hubbletest.Config{})
	address, _ := front(t, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	direct, through := connect(t, server.Addr()), connect(t, address)
	for _, f := range recorded(t)[:3] {
		if err := server.Feed(f); err != nil {
			t.Fatal(err)
		}
	}
	var streams []grpc.ServerStreamingClient[observer.GetFlowsResponse]
	for _, conn := range []*grpc.ClientConn{direct, through} {
		s, err := observer.NewObserverClient(conn).GetFlows(t.Context(), &observer.GetFlowsRequest{Follow: true, Number: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	server.Halt()
	var codesSeen []codes.Code
	for _, s := range streams {
		_, err := s.Recv()
		codesSeen = append(codesSeen, status.Code(err))
	}
	if codesSeen[0] != codesSeen[1] {
		t.Errorf("streams end with %v", codesSeen)
	}
	call := func(conn *grpc.ClientConn) codes.Code {
		_, err := observer.NewObserverClient(conn).ServerStatus(t.Context(), &observer.ServerStatusRequest{})
		return status.Code(err)
	}
	if d, p := call(direct), call(through); d != codes.Unavailable || p != d {
		t.Errorf("a call without an Observer gives %v, through the proxy %v", d, p)
	}
	if err := server.Resume(false); err != nil {
		t.Fatal(err)
	}
	if c := call(through); c != codes.OK {
		t.Errorf("a call when the Observer is back gives %v", c)
	}
}

// TestClientsGoneLeaveNothing looks for calls that outlive their client.
func TestClientsGoneLeaveNothing(t *testing.T) {
	server := observe(t, hubbletest.Config{})
	address, _ := front(t, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	for _, f := range recorded(t)[:3] {
		if err := server.Feed(f); err != nil {
			t.Fatal(err)
		}
	}
	before := sockets(t)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		conn := connect(t, address)
		s, err := observer.NewObserverClient(conn).GetFlows(ctx, &observer.GetFlowsRequest{Follow: true, Number: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		cancel()
		_ = conn.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); sockets(t) > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors are open, %d were", sockets(t), before)
		}
	}
}

// sockets returns how many files this process has open.
func sockets(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestSlowReader lets a client sleep while the Observer's ring runs over: the
// client is told what it lost, and nothing piles up.
func TestSlowReader(t *testing.T) {
	const ring, fed = 1000, 20_000
	server := observe(t, hubbletest.Config{Capacity: ring, LostEventInterval: time.Millisecond})
	address, p := front(t, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	flows := recorded(t)
	feed := func(n int) {
		for i := range n {
			if err := server.Feed(flows[i%len(flows)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	feed(2)
	conn := connect(t, address, grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10), grpc.WithStaticStreamWindowSize(64<<10))
	stream, err := observer.NewObserverClient(conn).GetFlows(t.Context(), &observer.GetFlowsRequest{Follow: true, Number: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	feed(fed)
	for stalled := uint64(0); stalled != p.Stats().Flows; time.Sleep(50 * time.Millisecond) {
		stalled = p.Stats().Flows
	}
	held := p.Stats().Flows
	if held > fed/4 {
		t.Errorf("%d of %d flows passed before they were read", held, fed)
	}
	var got, lost uint64
	for got+lost < fed {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := resp.GetLostEvents().GetNumEventsLost(); n > 0 {
			lost += n
		} else {
			got++
		}
		if got%100 == 0 {
			feed(1) // the last is withheld
		}
	}
	if lost == 0 || p.Stats().Lost != lost {
		t.Errorf("got %d, was told of %d lost; the proxy counts %+v", got, lost, p.Stats())
	}
	t.Logf("%d flows on their way to a client that does not read", held)
}

func TestNewRefuses(t *testing.T) {
	l, err := proxy.Listen(t.Context(), "unix://"+filepath.Join(t.TempDir(), "s"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []proxy.Config{
		{}, {Listener: l}, {Listener: l, Source: knowing{}, Upstream: "ftp://x"},
		{Listener: l, Source: knowing{}, ServerTLS: &proxy.ServerTLS{}},
		{Listener: l, Source: knowing{}, ServerTLS: &proxy.ServerTLS{CertFile: "/none", KeyFile: "/none"}},
	} {
		if _, err := proxy.New(c); err == nil {
			t.Errorf("no error for %+v", c)
		}
	}
}
