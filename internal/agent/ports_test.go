// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/agent"
)

// TestNoPort refuses connections to a server of which the fake kernel's map has
// three: the incident, published before its time as the agent ends, has whom they
// are of; without that it is published where reading the map takes longer than an
// agent that ends may take.
func TestNoPort(t *testing.T) {
	t.Run("map read", func(t *testing.T) { testNoPort(t, false) })
	t.Run("map too slow", func(t *testing.T) { testNoPort(t, true) })
}

func testNoPort(t *testing.T, slow bool) {
	h := startHub(t)
	n := startNode(t, func(c *agent.Config) {
		c.NATS.URL = h.ClientURL()
		c.Kernel.(*fakeKernel).slow.Store(slow)
	})
	n.awaitReady()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	before := n.status().Hubble.Flows
	server := netip.MustParseAddrPort("192.0.2.1:443")
	for port := range uint16(2) {
		n.feed(ctx, netip.AddrPortFrom(netip.MustParseAddr("10.0.1.10"), 50000+port), server, flow.TraceObservationPoint_UNKNOWN_POINT, &flow.TCPFlags{SYN: true})
	}
	n.other(ctx)
	n.other(ctx)
	eventually(t, "the drops are heard of", func() bool { return n.status().Hubble.Flows >= before+3 })
	time.Sleep(50 * time.Millisecond) // more than the agent reorders
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	got := stored(t, h.ClientURL())[netip.MustParseAddrPort("10.0.1.10:50000")]
	if len(got) != 1 || got[0].Kind != incident.NoPort || got[0].Cause != incident.PortsExhausted || got[0].Outcome != incident.Dropped {
		t.Fatalf("incidents %+v", got)
	}
	p := got[0].Ports
	if p.Refused != 2 || len(p.Pods) != 1 || p.Pods[0] != (incident.PodCount{Name: "shop/cart-1", Count: 2}) || time.Since(p.Since) > patience {
		t.Errorf("ports %+v", p)
	}
	if slow {
		if p.InUse != 0 || p.Holders != nil {
			t.Errorf("ports %+v that nothing counted", p)
		}
		return
	}
	if p.InUse != 2 || len(p.Holders) != 2 || p.Holders[0] != (incident.PodCount{Name: "10.0.1.10", Count: 2}) || got[0].Map.MaxEntries != natMap.MaxEntries {
		t.Errorf("ports %+v of map %+v", p, got[0].Map)
	}
}
