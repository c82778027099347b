// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/sinktest/smalldisk"
)

// The hub's NATS is away for a minute while connections go on breaking.
func TestHubAwayForAMinute(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	n := startNode(t, func(c *agent.Config) { c.NATS.URL = h.ClientURL() })
	n.awaitReady()
	n.breakAll(t.Context(), 0, 100)
	eventually(t, "some arrive", func() bool { return n.status().Outbox.Forwarded > 0 })
	h.Shutdown()
	all := 100
	for back := time.Now().Add(time.Minute); time.Now().Before(back); all += 100 {
		n.breakAll(t.Context(), all, all+100)
		time.Sleep(time.Second)
	}
	if ready := n.get("/readyz"); !strings.Contains(ready, "nats: not ready") || !strings.Contains(ready, "outbox: ready") {
		t.Errorf("readyz says %q", ready)
	}
	h.start()
	n.awaitForwarded(uint64(all)) //nolint:gosec // some thousand
	wantOnce(t, h.ClientURL(), all)
	if s := n.status(); len(s.Losses) != 0 || s.Outbox.Waiting != 0 {
		t.Errorf("status %+v", s)
	}
}

// An agent without CPU is seconds behind the kernel: it says so.
func TestFallsBehind(t *testing.T) {
	t.Parallel()
	k := newFakeKernel()
	n := startNode(t, func(c *agent.Config) { c.Kernel = k })
	n.awaitReady()
	k.stuck.Store(true)
	eventually(t, "readyz says that it is behind", func() bool {
		return strings.Contains(n.get("/readyz"), "tracking: not ready: the kernel's changes are read")
	})
	if s := n.status(); s.State() != nodestatus.Degraded {
		t.Errorf("the node is %s", s.State())
	}
	if !strings.Contains(n.get("/metrics"), `renat_part_ready{part="tracking"} 0`) {
		t.Error("the metrics say that it keeps up")
	}
	k.stuck.Store(false)
	n.awaitReady()
}

// A replaced map is counted, also one of connection tracking.
func TestReplacedMapIsCounted(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.awaitReady()
	n.changes(correlator.Event{Time: time.Now().UnixNano(), Kind: correlator.KindNAT, NAT: correlator.NATChange{Op: correlator.Replaced, Map: ctMap}})
	eventually(t, "the metrics have it", func() bool {
		return strings.Contains(n.get("/metrics"), "renat_map_replacements_total{map=\"cilium_ct4_global\"} 1\n")
	})
	if !strings.Contains(n.get("/metrics"), "renat_map_replacements_total{map=\"cilium_snat_v4_external\"} 0\n") {
		t.Error("the other is not counted from zero on")
	}
}

func TestSlowNATS(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	n := startNode(t, func(c *agent.Config) { c.NATS.URL = "nats://" + slowLine(t, h.listen, 150*time.Millisecond) })
	n.awaitReady()
	n.breakAll(t.Context(), 0, 50)
	eventually(t, "all are on disk, long before NATS has them", func() bool { return n.status().Outbox.Stored == 50 })
	n.awaitForwarded(50)
	wantOnce(t, h.ClientURL(), 50)
}

func TestHubbleRestarts(t *testing.T) {
	for name, keep := range map[string]bool{"ring kept": true, "ring lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, nil)
			n.awaitReady()
			n.breakAll(t.Context(), 0, 10)
			n.awaitForwarded(10)
			// Two lives that begin within two seconds look like one.
			time.Sleep(2500 * time.Millisecond)
			n.hubble.Halt()
			eventually(t, "readyz says that Hubble is away", func() bool {
				return strings.Contains(n.get("/readyz"), "hubble: not ready")
			})
			if err := n.hubble.Resume(keep); err != nil {
				t.Fatal(err)
			}
			n.other(t.Context())
			n.other(t.Context())
			n.awaitReady()
			n.breakAll(t.Context(), 10, 20)
			n.awaitForwarded(20)
			wantOnce(t, n.config.NATS.URL, 20)
			if restarts := n.status().Hubble.Restarts; keep != (restarts == 0) {
				t.Errorf("%d restarts noticed", restarts)
			}
		})
	}
}

// What was found while the disk is full is stored when there is room again.
func TestFullStateDisk(t *testing.T) {
	t.Parallel()
	disk := smalldisk.New(t, "3m")
	h := startHub(t)
	n := startNode(t, func(c *agent.Config) { c.NATS.URL, c.StateDir = h.ClientURL(), disk.Dir })
	n.awaitReady()
	n.breakAll(t.Context(), 0, 10)
	n.awaitForwarded(10)
	disk.Fill()
	n.breakAll(t.Context(), 10, 30)
	eventually(t, "readyz says that the outbox cannot store", func() bool {
		return strings.Contains(n.get("/readyz"), "outbox: not ready")
	})
	disk.Free()
	n.awaitForwarded(30)
	wantOnce(t, h.ClientURL(), 30)
	if s := n.status(); len(s.Losses) != 0 {
		t.Errorf("losses %v", s.Losses)
	}
}

// What is found at the last moment is stored and sent; what a busy machine has
// not sent within the bound of an end, the next life sends.
func TestEndDrains(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	n := startNode(t, func(c *agent.Config) { c.NATS.URL = h.ClientURL() })
	n.awaitReady()
	n.breakAll(t.Context(), 0, 200)
	eventually(t, "all flows have arrived", func() bool { return n.status().Hubble.Flows >= 200*5 }) // sever and open
	handed, _ := kprobes.Now()
	eventually(t, "all changes have arrived", func() bool { return n.config.Kernel.CaughtUp() >= handed })
	began := time.Now()
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > patience { // 5 s, but for a busy machine
		t.Errorf("the end took %v", took)
	}
	if len(stored(t, h.ClientURL())) < 200 {
		next := startNode(t, func(c *agent.Config) { c.NATS.URL, c.StateDir = h.ClientURL(), n.config.StateDir })
		eventually(t, "what was left is sent", func() bool { return next.status().Outbox.Waiting == 0 })
	}
	wantOnce(t, h.ClientURL(), 200)
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for want, config := range map[string]agent.Config{
		"--node-name": {StateDir: t.TempDir()},
		"--state-dir": {Node: "a"},
	} {
		if err := agent.Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}
