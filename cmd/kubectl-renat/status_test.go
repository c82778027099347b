// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/usage"
)

// hubPod is a hub that tells a status, after change.
func hubPod(name string, change func(*nodestatus.Hub)) testPod {
	h := &nodestatus.Hub{
		Version: nodestatus.Version, Name: name, Renat: "v1.0.0", Ready: true, Notifies: true, Leader: "renat-hub-a", Receivers: []nodestatus.Receiver{},
		NATS: nodestatus.NATS{Connected: true, Server: "2.15.2", Cluster: "renat-nats", Stores: []nodestatus.Store{
			{Name: "RENAT_INCIDENTS", Messages: 1234, Bytes: 5 << 20, Replicas: 3}, {Name: "KV_RENAT_HUB_LEASE", Messages: 1, Bytes: 100, Replicas: 1},
		}},
	}
	change(h)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(h) })
	return testPod{name: name, node: "node-a", phase: "Running", agent: mux}
}

func active(h *nodestatus.Hub) {
	h.Active = true
	h.Receivers = []nodestatus.Receiver{{Name: "ops", Circuit: "closed", Backlog: 2, Queued: 1, Delivered: time.Now().Add(-185 * time.Second)}}
}

func connected(s *nodestatus.Status) {
	s.Parts = append(s.Parts, nodestatus.Part{Name: nodestatus.PartNATS, Ready: true})
}

// wellFleet has two nodes and two hubs, and all is in order.
func wellFleet(t *testing.T) *apiServer {
	s := newAPIServer(t)
	s.pods = []testPod{node("node-a", connected), node("node-b", func(n *nodestatus.Status) { connected(n); evicting(n); n.Machine.Kernel = "6.1.0" })}
	s.hubs = []testPod{hubPod("renat-hub-a", active), hubPod("renat-hub-b", func(*nodestatus.Hub) {})}
	return s
}

func TestStatus(t *testing.T) {
	s := wellFleet(t)
	code, out, errs := s.renat(t, "status")
	want := `Agents               2: 1 evicting, 1 ok
  version            v1.0.0
  Cilium             1.20.2
  kernel             6.1.0 (1), 6.12.0 (1)
  backend            fentry
  on the way         0 incidents have not arrived in NATS
  lost               0 events and incidents since the agents started
NATS                 2.15.2, cluster renat-nats; 2 of 2 agents are connected
  RENAT_INCIDENTS    1234 messages, 5.0 MiB, 3 copies
  KV_RENAT_HUB_LEASE 1 messages, 0.0 MiB, 1 copy
Hubs                 2
  active             renat-hub-a, v1.0.0
    ops              delivered 3m ago; 1 notifications and 2 incidents wait
  stands by          renat-hub-b, v1.0.0

All in order
`
	if code != usage.Done || out != want || errs != "" {
		t.Errorf("exit %d, %s\n%swant\n%s", code, errs, out, want)
	}
	if code, _, errs := s.renat(t, "status", "--nats-url", "nats://127.0.0.1:1"); code != usage.Wrong {
		t.Errorf("with NATS: exit %d, %s", code, errs)
	}
}

// Whatever is not in order is named, and is the exit code.
func TestStatusOfWhatIsNotInOrder(t *testing.T) {
	s := newAPIServer(t)
	s.pods = []testPod{
		node("node-a", func(n *nodestatus.Status) {
			n.Parts = []nodestatus.Part{{Name: nodestatus.PartKernel, Problem: "no BTF"}, {Name: nodestatus.PartNATS}}
		}),
		{name: "renat-agent-b", node: "node-b", phase: "Pending"},
	}
	s.hubs = []testPod{
		hubPod("renat-hub-a", func(h *nodestatus.Hub) { h.Ready, h.Problem, h.NATS.Connected = false, "not connected to NATS", false }),
		hubPod("renat-hub-b", func(h *nodestatus.Hub) {
			h.Receivers = []nodestatus.Receiver{{Name: "ops", Circuit: "open"}, {Name: "chat", Circuit: "closed", Failing: true}}
			h.NATS.Stores[0].Away, h.NATS.Stores[0].Lag, h.NATS.DeadLetters = []string{"nats-2"}, 7, 3
			h.NATS.Stores[0].OtherSubjects, h.NATS.Stores[0].Others = []string{"audit.>"}, 12
		}),
		{name: "renat-hub-c", phase: "Running"},
	}
	code, out, errs := s.renat(t, "status", "-o", "json")
	var got struct{ Problems []struct{ Node, Why string } }
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != usage.Found {
		t.Fatalf("exit %d, %v, %s\n%s", code, err, errs, out)
	}
	want := [][2]string{
		{"node-b", "silent: its pod renat-agent-b is Pending"},
		{"node-a", "blind: kernel is not ready: no BTF"},
		{"node-a", "blind: nats is not ready"},
		{"hub renat-hub-c", "silent: error trying to reach service: dial tcp 10.0.0.7:9972: connect: connection refused: nothing listens there, hubs do on their own loopback unless they get --listen :9972"},
		{"hub renat-hub-a", "not ready: not connected to NATS"},
		{"receiver ops", "left alone, its circuit is open: the log of hub renat-hub-b says why"},
		{"receiver chat", "did not take the last notification: the log of hub renat-hub-b says why"},
		{"hubs", "none is active: nobody is notified"},
		{"NATS", "RENAT_INCIDENTS: the copy of nats-2 is away or behind, by 7 changes at most"},
		{"NATS", "stream RENAT_INCIDENTS takes audit.>, too, and has 12 messages of that: while it does, incidents that it drops unread are not counted; move the others to a stream of their own"},
		{"NATS", "could not be delivered: 3; renat hub redeliver sends them again"},
	}
	if len(got.Problems) != len(want) {
		t.Fatalf("got %v", got.Problems)
	}
	for i, p := range got.Problems {
		if p.Node != want[i][0] || p.Why != want[i][1] {
			t.Errorf("got %v, want %v", p, want[i])
		}
	}
	s.hubs = nil
	if code, out, errs := s.renat(t, "status"); code != usage.Found || errs != "kubectl renat: not in order: 3\n" {
		t.Errorf("without hubs: exit %d, %s\n%s", code, errs, out)
	}
}
