// SPDX-License-Identifier: Apache-2.0

package hubbletest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/hubble/hubbletest"
)

// recorded returns flows that an agent of Cilium 1.20.2 made.
func recorded(t testing.TB) (out []*observer.GetFlowsResponse) {
	t.Helper()
	b, err := os.ReadFile("../testdata/cilium-1.20.2.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		resp := &observer.GetFlowsResponse{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, resp); err != nil {
			t.Fatal(err)
		}
		out = append(out, resp)
	}
	return out
}

// numbered returns flow n, of second n.
func numbered(n int) *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{
		Time: &timestamppb.Timestamp{Seconds: int64(n)}, Uuid: fmt.Sprint(n), NodeName: "node-a",
	}}}
}

func serve(t *testing.T, cfg hubbletest.Config) (*hubbletest.Server, *grpc.ClientConn) {
	t.Helper()
	srv, err := hubbletest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	conn, err := grpc.NewClient(srv.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return srv, conn
}

func feed(t *testing.T, srv *hubbletest.Server, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if err := srv.Feed(numbered(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// name returns what came, shortly: a flow's uuid, "lost N" for a loss.
func name(resp *observer.GetFlowsResponse) string {
	if l := resp.GetLostEvents(); l != nil {
		return fmt.Sprintf("lost %d", l.GetNumEventsLost())
	}
	return resp.GetFlow().GetUuid()
}

// ask returns everything that a request without follow gets.
func ask(t *testing.T, conn *grpc.ClientConn, req *observer.GetFlowsRequest) (got []string, err error) {
	t.Helper()
	stream, err := observer.NewObserverClient(conn).GetFlows(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, name(resp))
	}
}

func TestMask(t *testing.T) {
	srv, conn := serve(t, hubbletest.Config{})
	feed(t, srv, 1, 3)
	srv.Seal()
	get := func(paths ...string) (*flow.Flow, error) {
		stream, err := observer.NewObserverClient(conn).GetFlows(t.Context(), &observer.GetFlowsRequest{
			First: true, Number: 1, FieldMask: &fieldmaskpb.FieldMask{Paths: paths},
		})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		return resp.GetFlow(), err
	}
	for paths, want := range map[string]*flow.Flow{
		"":     numbered(1).GetFlow(),
		"uuid": {Uuid: "1"},
	} {
		if got, err := get(strings.Fields(paths)...); err != nil || !proto.Equal(got, want) {
			t.Errorf("mask %q: got %v, want %v (%v)", paths, got, want, err)
		}
	}
	if _, err := get("source.shoe_size"); err == nil {
		t.Error("a mask with an unknown field is accepted")
	}
}

func TestSpans(t *testing.T) {
	const told = time.Nanosecond // lost events are told at once
	second := func(n int) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: int64(n)} }
	for _, c := range []struct {
		name string
		fed  int
		seal bool
		req  *observer.GetFlowsRequest
		want []string
	}{
		{"empty", 0, false, &observer.GetFlowsRequest{}, nil},
		{"one, withheld", 1, false, &observer.GetFlowsRequest{}, nil},
		{"one, sealed", 1, true, &observer.GetFlowsRequest{}, []string{"1"}},
		{"newest withheld", 3, false, &observer.GetFlowsRequest{}, []string{"1", "2"}},
		{"sealed", 3, true, &observer.GetFlowsRequest{}, []string{"1", "2", "3"}},
		{"last two", 5, false, &observer.GetFlowsRequest{Number: 2}, []string{"3", "4"}},
		{"first two", 5, false, &observer.GetFlowsRequest{Number: 2, First: true}, []string{"1", "2"}},
		{"since", 5, false, &observer.GetFlowsRequest{Since: second(3)}, []string{"3", "4"}},
		{"since before the first", 5, false, &observer.GetFlowsRequest{Since: second(0)}, []string{"1", "2", "3", "4"}},
		{"until", 5, false, &observer.GetFlowsRequest{Until: second(2)}, []string{"1", "2"}},
		{"since and until", 6, false, &observer.GetFlowsRequest{Since: second(2), Until: second(3)}, []string{"2", "3"}},
		{"first of a full ring", 20, false, &observer.GetFlowsRequest{First: true}, []string{"13", "14", "15", "16", "17", "18", "19"}},
		{"a whole full ring, rewound", 20, false, &observer.GetFlowsRequest{}, []string{"lost 1", "13", "14", "15", "16", "17", "18", "19"}},
		{"since in a full ring", 20, false, &observer.GetFlowsRequest{Since: second(18)}, []string{"18", "19"}},
		{"filtered", 9, false, &observer.GetFlowsRequest{Whitelist: []*flow.FlowFilter{{Uuid: []string{"4", "6", "9"}}}, Number: 1}, []string{"6"}},
		{"blacklist", 5, false, &observer.GetFlowsRequest{Blacklist: []*flow.FlowFilter{{Uuid: []string{"2"}}, {Uuid: []string{"4"}}}}, []string{"1", "3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, conn := serve(t, hubbletest.Config{Capacity: 7, LostEventInterval: told})
			feed(t, srv, 1, c.fed)
			if c.seal {
				srv.Seal()
			}
			if got, err := ask(t, conn, c.req); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q and %v, want %q", got, err, c.want)
			}
		})
	}
}

// following returns a stream and a function that tells what came of it until
// nothing more comes.
func following(t *testing.T, conn *grpc.ClientConn, req *observer.GetFlowsRequest) func() []string {
	t.Helper()
	req.Follow = true
	stream, err := observer.NewObserverClient(conn).GetFlows(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan string, 100)
	go func() {
		defer close(came)
		for {
			resp, err := stream.Recv()
			if err != nil {
				return
			}
			came <- name(resp)
		}
	}()
	time.Sleep(50 * time.Millisecond) // until the server has opened the ring
	return func() (got []string) {
		for {
			select {
			case s := <-came:
				got = append(got, s)
			case <-time.After(50 * time.Millisecond):
				return got
			}
		}
	}
}

func TestFollow(t *testing.T) {
	srv, conn := serve(t, hubbletest.Config{Capacity: 7})
	feed(t, srv, 1, 3)
	stale := following(t, conn, &observer.GetFlowsRequest{})
	since := following(t, conn, &observer.GetFlowsRequest{Since: &timestamppb.Timestamp{Seconds: 1}})
	feed(t, srv, 4, 5)
	if got := stale(); !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("follow alone got %q, want one stale flow, then 3 and 4", got)
	}
	if got := since(); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("since got %q, want 1 to 4", got)
	}
}

func TestFollowingAnEmptyRingWaitsUntilItWasFilled(t *testing.T) {
	srv, conn := serve(t, hubbletest.Config{Capacity: 7})
	trapped := following(t, conn, &observer.GetFlowsRequest{Since: &timestamppb.Timestamp{}})
	feed(t, srv, 1, 7)
	if got := trapped(); got != nil {
		t.Errorf("got %q before the ring was filled", got)
	}
	feed(t, srv, 8, 8)
	if got := trapped(); !slices.Equal(got, []string{"1", "2", "3", "4", "5", "6", "7"}) {
		t.Errorf("got %q when the ring was filled, want 1 to 7", got)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	_, conn := serve(t, hubbletest.Config{})
	for _, c := range []struct {
		req  *observer.GetFlowsRequest
		want codes.Code
	}{
		{&observer.GetFlowsRequest{First: true, Follow: true}, codes.InvalidArgument},
		{&observer.GetFlowsRequest{Since: &timestamppb.Timestamp{Nanos: -1}}, codes.InvalidArgument},
		{&observer.GetFlowsRequest{Whitelist: []*flow.FlowFilter{{HttpMethod: []string{"GET"}}}}, codes.InvalidArgument},
		{&observer.GetFlowsRequest{Blacklist: []*flow.FlowFilter{{SourceIp: []string{"10.0.0.0/33"}}}}, codes.InvalidArgument},
		{&observer.GetFlowsRequest{Blacklist: []*flow.FlowFilter{{Protocol: []string{"http"}}}}, codes.InvalidArgument},
	} {
		if _, err := ask(t, conn, c.req); status.Code(err) != c.want {
			t.Errorf("%v: error %v, want code %v", c.req, err, c.want)
		}
	}
	if _, err := observer.NewObserverClient(conn).GetNodes(t.Context(), &observer.GetNodesRequest{}); err != nil {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	srv, conn := serve(t, hubbletest.Config{Capacity: 7, Version: "1.20.2"})
	for _, resp := range recorded(t)[:12] {
		if err := srv.Feed(resp); err != nil {
			t.Fatal(err)
		}
	}
	var header metadata.MD
	api := observer.NewObserverClient(conn)
	st, err := api.ServerStatus(t.Context(), &observer.ServerStatusRequest{}, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if st.GetNumFlows() != 7 || st.GetMaxFlows() != 7 || st.GetSeenFlows() != 12 || st.GetUptimeNs() == 0 || st.GetVersion() != "1.20.2" {
		t.Errorf("status %v", st)
	}
	if got := header.Get("hubble-server-version"); !slices.Equal(got, []string{"1.20.2"}) {
		t.Errorf("header %q", got)
	}
	ns, err := api.GetNamespaces(t.Context(), &observer.GetNamespacesRequest{})
	if err != nil || len(ns.GetNamespaces()) != 1 || ns.GetNamespaces()[0].GetNamespace() != "shop" {
		t.Errorf("namespaces %v and %v", ns, err)
	}
	h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "hubble.server.Observer"})
	if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health %v and %v", h, err)
	}
}

func TestSealIsTheEnd(t *testing.T) {
	srv, conn := serve(t, hubbletest.Config{})
	feed(t, srv, 1, 20)
	srv.Seal()
	got, err := ask(t, conn, &observer.GetFlowsRequest{First: true})
	if err != nil || len(got) != 20 || got[0] != "1" || got[19] != "20" {
		t.Errorf("got %q and %v, want 1 to 20", got, err)
	}
	if err := srv.Feed(numbered(21)); err == nil {
		t.Error("a sealed server takes another flow")
	}
	dir := srv.Addr()
	srv.Stop()
	if _, err := os.Stat(dir[len("unix://"):]); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}
