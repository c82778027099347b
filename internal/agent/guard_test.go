// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"strings"
	"testing"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/internal/agent/guard"
)

// TestAgentGuards has the guard take the connections that Hubble shows, tell of
// them, and the incident of one that breaks all the same say so.
func TestAgentGuards(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(c *agent.Config) { c.Guard = &guard.Config{} })
	n.awaitReady()
	for c := range 3 {
		n.open(t.Context(), c)
		one := connectionOf(c)
		n.changes(change(correlator.Insert, correlator.Out, one.pod, one.server, one.before))
	}
	n.other(t.Context())
	eventually(t, "all are guarded", func() bool { return n.status().Guard.Connections == 3 })
	n.sever(t.Context(), 1)
	n.other(t.Context())
	n.awaitForwarded(1)
	eventually(t, "the broken one is guarded no more", func() bool { return n.status().Guard.Connections == 2 })
	for pod, incidents := range stored(t, n.config.NATS.URL) {
		if pod != connectionOf(1).pod || len(incidents) != 1 || !incidents[0].NAT.Guarded {
			t.Errorf("%s: %+v", pod, incidents[0])
		}
	}
	if s := n.status().Guard; s.Lost != 1 || s.Runs == 0 {
		t.Errorf("status %+v", s)
	}
	metrics := n.get("/metrics")
	for _, want := range []string{"renat_guard_connections 2", "renat_guard_lost_entries_total 1", "renat_guard_kept_connections_total 0"} {
		if !strings.Contains(metrics, "\n"+want+"\n") {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if !strings.Contains(metrics, "\nrenat_guard_connection_cpu_seconds ") {
		t.Error("the metrics do not tell what a connection costs")
	}
}

// TestAgentNamesSize has the kernel evict what is guarded by force, and wants a
// size named that Cilium takes beside the tracking map there is.
func TestAgentNamesSize(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(c *agent.Config) { c.Guard = &guard.Config{} })
	n.awaitReady()
	n.open(t.Context(), 0)
	one := connectionOf(0)
	n.changes(change(correlator.Insert, correlator.Out, one.pod, one.server, one.before))
	n.other(t.Context())
	eventually(t, "it is guarded", func() bool { return n.status().Guard.Connections == 1 })
	forced := change(correlator.Evict, correlator.Out, one.pod, one.server, one.before)
	forced.NAT.Forced = true
	n.changes(forced)
	problem := ""
	eventually(t, "it guards fewer", func() bool {
		problem = n.status().Guard.Problem
		return problem != ""
	})
	const want = "at most 24 connections are guarded instead of 48; by what this node measured bpf.natMax: 1024 with bpf.ctTcpMax: 1024 is enough"
	if !strings.HasPrefix(problem, "map too small: ") || !strings.Contains(problem, want) {
		t.Error(problem)
	}
}

// TestAgentWithoutGuard says nothing of what was not asked for.
func TestAgentWithoutGuard(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.awaitReady()
	n.breakAll(t.Context(), 0, 1)
	n.awaitForwarded(1)
	for _, incidents := range stored(t, n.config.NATS.URL) {
		if incidents[0].NAT.Guarded {
			t.Error("an incident says that a guard kept it")
		}
	}
	if n.status().Guard != nil || strings.Contains(n.get("/metrics"), "renat_guard") {
		t.Error("it tells of a guard")
	}
}
