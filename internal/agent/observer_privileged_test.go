// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"

	"github.com/renat-project/renat/kprobes"
)

// TestPrivilegedObserver asks for flows whose translation is in the kernel's
// map: before and after it changes, outside the node, and when it is gone.
func TestPrivilegedObserver(t *testing.T) {
	address, serve := observerAt(t)
	n := startRealNode(t, kprobes.Config{}, serve)
	want := func(what string, src, dst netip.AddrPort, flows ...observed) {
		t.Helper()
		n.other(t.Context()) // the newest is withheld
		var got []observed
		for _, f := range observe(t, address) {
			if f.src == src.String() && f.dst == dst.String() {
				f.src, f.dst = "", ""
				got = append(got, f)
			}
		}
		if !slices.Equal(got, flows) {
			t.Errorf("%s: got %+v, want %+v", what, got, flows)
		}
	}

	c := n.begin(1)
	at := connectionOf(c)
	mapped := observed{summary: "SNAT " + at.before.String(), preNAT: at.pod.String(), postNAT: at.before.String()}
	want("working", at.pod, at.server, mapped, mapped)

	n.sever(t.Context(), c)
	id := n.awaitNamed(c)[c].ID
	n.acknowledge(c)
	before, after := mapped, mapped
	before.incident, after.incident = id, id
	before.summary += " " + id[:8]
	after.postNAT = at.after.String()
	after.summary = fmt.Sprintf("SNAT %s (was :%d) %s", at.after, at.before.Port(), id[:8])
	want("re-NATted", at.pod, at.server, before, before, after)
	want("re-NATted, from the server", at.server, at.pod, before, before, after)

	n.feed(t.Context(), at.after, at.server, flow.TraceObservationPoint_TO_NETWORK, &flow.TCPFlags{ACK: true})
	want("outside the node", at.after, at.server, after)

	gone := n.begin(1)
	at = connectionOf(gone)
	n.lose(gone)
	time.Sleep(500 * time.Millisecond) // more than flows trail the kernel
	n.acknowledge(gone)
	mapped = observed{summary: "SNAT " + at.before.String(), preNAT: at.pod.String(), postNAT: at.before.String()}
	want("evicted", at.pod, at.server, mapped, mapped, observed{})
}
