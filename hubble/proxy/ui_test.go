// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"

	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/hubble/proxy"
)

// TestCallsOfHubbleUI makes the calls that hubble-ui's backend makes: GetFlows
// for the last 10,000 flows and those that follow, without a mask and with
// allowing and denying filters, ServerStatus and GetNodes.
func TestCallsOfHubbleUI(t *testing.T) {
	flows := recorded(t)
	server := observe(t, hubbletest.Config{Version: "cilium v1.20.2"})
	feed := func(flows []*observer.GetFlowsResponse) {
		for _, f := range flows {
			if err := server.Feed(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	half := len(flows) / 2
	feed(flows[:half])
	address, _ := front(t, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	req := &observer.GetFlowsRequest{
		Follow: true, Number: 10_000,
		Whitelist: []*flow.FlowFilter{
			{SourcePod: []string{"shop/"}, EventType: []*flow.EventTypeFilter{{Type: 1}, {Type: 4}, {Type: 129}}},
			{DestinationPod: []string{"shop/"}, EventType: []*flow.EventTypeFilter{{Type: 1}, {Type: 4}, {Type: 129}}},
		},
		Blacklist: []*flow.FlowFilter{{Reply: []bool{true}}, {DestinationPort: []string{"53"}}},
	}
	var clients [2]observer.ObserverClient
	var streams [2]grpc.ServerStreamingClient[observer.GetFlowsResponse]
	for n, a := range []string{server.Addr(), address} {
		clients[n] = observer.NewObserverClient(connect(t, a))
		var err error
		if streams[n], err = clients[n].GetFlows(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	want := len(ask(t, connect(t, server.Addr()), &observer.GetFlowsRequest{First: true, Number: 10_000, Whitelist: req.Whitelist, Blacklist: req.Blacklist}).flows)
	same, added := sameBut(t, req), 0
	compare := func(count int) {
		t.Helper()
		for range count {
			direct, err := streams[0].Recv()
			if err != nil {
				t.Fatal(err)
			}
			through, err := streams[1].Recv()
			if err != nil {
				t.Fatal(err)
			}
			if !same(through, direct) {
				t.Fatalf("got %v, want %v", through, direct)
			}
			if through.GetFlow().GetExtensions() != nil {
				added++
			}
		}
	}
	compare(want)
	feed(flows[half:])
	total := len(ask(t, connect(t, server.Addr()), &observer.GetFlowsRequest{First: true, Number: 10_000, Whitelist: req.Whitelist, Blacklist: req.Blacklist}).flows)
	compare(total - want)
	if want == 0 || total == want || added == 0 {
		t.Errorf("%d flows, then %d, %d of them with additions", want, total-want, added)
	}
	for _, c := range clients {
		if s, err := c.ServerStatus(t.Context(), &observer.ServerStatusRequest{}); err != nil || s.GetSeenFlows() != uint64(len(flows)) {
			t.Errorf("status %v, %v", s, err)
		}
		if n, err := c.GetNodes(t.Context(), &observer.GetNodesRequest{}); err != nil || len(n.GetNodes()) != 1 {
			t.Errorf("nodes %v, %v", n, err)
		}
	}
}
