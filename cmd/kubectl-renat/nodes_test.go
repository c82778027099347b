// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/usage"
)

// threeNodes are one of each state.
func threeNodes(t *testing.T) *apiServer {
	s := newAPIServer(t)
	s.pods = []testPod{
		node("ip-10-0-1-17.eu-central-1.compute.internal", nil), node("node-b", evicting),
		node("node-c", breaking, found("node-c", 1), found("node-c", 2)),
	}
	return s
}

func TestNodes(t *testing.T) {
	code, out, errs := threeNodes(t).renat(t, "nodes")
	want := `NODE                                        STATE     MAP        SIZE  USED  NOW/S  10M/S  FORCED  INCIDENTS  LOST  AGENT
node-c                                      breaking  snat_v4  131072   99%    872    840      2%       12/3     7  v1.0.0
node-b                                      evicting  snat_v4  131072   99%    872    840      2%        0/0     0  v1.0.0
ip-10-0-1-17.eu-central-1.compute.internal  ok        snat_v4  131072   31%      0      0       -        0/0     0  v1.0.0
`
	if code != usage.Done || out != want || errs != "" {
		t.Errorf("exit %d, errors %q, got\n%s", code, errs, out)
	}
}

func TestFailOn(t *testing.T) {
	s := threeNodes(t)
	for arg, want := range map[string]int{"evicting": usage.Found, "breaking": usage.Found, "ok": usage.Wrong} {
		if code, _, errs := s.renat(t, "nodes", "--fail-on", arg); code != want {
			t.Errorf("%s: exit %d, want %d (%s)", arg, code, want, errs)
		}
	}
	s.pods = s.pods[:2]
	for arg, want := range map[string]int{"evicting": usage.Found, "breaking": usage.Done} {
		if code, _, errs := s.renat(t, "nodes", "--fail-on", arg); code != want {
			t.Errorf("without a breaking node, %s: exit %d, want %d (%s)", arg, code, want, errs)
		}
	}
}

// TestGuardColumn is there as soon as one node has a guard.
func TestGuardColumn(t *testing.T) {
	s := threeNodes(t)
	guard := func(g nodestatus.Guard) func(*nodestatus.Status) {
		return func(st *nodestatus.Status) { st.Guard = &g }
	}
	s.pods = append(s.pods, node("node-d", guard(nodestatus.Guard{Connections: 7, Runs: 900, NanosecondsPerConnection: 228.4, Kept: 3})), node("node-e", guard(nodestatus.Guard{Idle: true})),
		node("node-f", guard(nodestatus.Guard{Connections: 7, Problem: nodestatus.GuardTooSmall + ": words"})),
		node("node-h", func(st *nodestatus.Status) {
			evicting(st)
			st.Guard = &nodestatus.Guard{Connections: 7, Problem: nodestatus.GuardTooSmall + ": words"}
		}),
		node("node-g", guard(nodestatus.Guard{Problem: "the guard needs Linux 5.14 or newer"})))
	for _, format := range []string{"", "wide"} {
		_, out, _ := s.renat(t, "nodes", "-o", format)
		lines := strings.Split(out, "\n")
		at := strings.Index(lines[0], "GUARD")
		if at < 0 {
			t.Fatalf("no column in\n%s", out)
		}
		want := map[string]string{
			"node-c": "off", "node-d": "7", "node-e": "idle", "node-f": "7, map too small", "node-g": "not working",
			"node-h": "7, map too small (bpf.natMax: 966656, bpf.ctTcpMax: 966656)",
		}
		if format == "wide" {
			want["node-d"] = "7 (900 runs, 228 ns each, about 3 kept, 0 lost)"
		}
		for _, line := range lines[1:] {
			name, _, _ := strings.Cut(line, " ")
			words, ok := want[name]
			if ok && !strings.HasPrefix(line[at:]+" ", words+" ") {
				t.Errorf("%s: %q, want %q", name, line[at:], words)
			}
			delete(want, name)
		}
		if len(want) > 0 {
			t.Errorf("missing: %v in\n%s", want, out)
		}
	}
}

// TestBlindNodes are never "ok": they come first, say what they lack, and fail.
func TestBlindNodes(t *testing.T) {
	s := threeNodes(t)
	lack := func(part string) func(*nodestatus.Status) {
		return func(st *nodestatus.Status) {
			st.Parts = []nodestatus.Part{{Name: nodestatus.PartKernel, Ready: part != nodestatus.PartKernel}, {Name: nodestatus.PartHubble, Ready: part != nodestatus.PartHubble}}
		}
	}
	s.pods = append(s.pods, node("node-d", lack(nodestatus.PartHubble)), node("node-e", lack(nodestatus.PartKernel)))
	_, out, _ := s.renat(t, "nodes")
	lines := strings.Split(out, "\n")
	if !strings.HasSuffix(lines[0], "NOT-READY") || !strings.HasPrefix(lines[1], "node-e ") || !strings.Contains(lines[1], " blind ") || !strings.HasSuffix(lines[1], " kernel") ||
		!strings.HasPrefix(lines[2], "node-d ") || !strings.Contains(lines[2], " degraded ") || !strings.HasSuffix(lines[2], " hubble") || !strings.Contains(lines[3], " breaking ") {
		t.Errorf("got\n%s", out)
	}
	for arg, want := range map[string]string{"blind": "nodes that are blind, or worse: 1", "degraded": "degraded, or worse: 2", "breaking": "breaking, or worse: 3"} {
		if code, _, errs := s.renat(t, "nodes", "--fail-on", arg); code != usage.Found || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %s", arg, code, errs)
		}
	}
	s.pods = s.pods[:3]
	s.pods[0].phase = "Pending"
	if code, _, errs := s.renat(t, "nodes", "--fail-on", "blind"); code != usage.Found || !strings.Contains(errs, "blind, or worse: 1") {
		t.Errorf("a silent node: exit %d, %s", code, errs)
	}
}

// Nodes without an agent's pod are blind, and all commands that tell of nodes
// count them. Who may not list nodes is told that they are not shown.
func TestNodesWithoutAgent(t *testing.T) {
	s := threeNodes(t)
	s.bare = []string{"node-x", "node-y"}
	_, out, errs := s.renat(t, "nodes")
	lines := strings.Split(out, "\n")
	if len(lines) != 7 || !strings.HasPrefix(lines[1], "node-x ") || !strings.HasPrefix(lines[2], "node-y ") || !strings.Contains(lines[2], " blind ") ||
		!strings.HasSuffix(lines[2], " agent") || errs != "" {
		t.Errorf("%s, got\n%s", errs, out)
	}
	if code, _, errs := s.renat(t, "nodes", "--fail-on", "blind"); code != usage.Found || !strings.Contains(errs, "blind, or worse: 2") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if _, out, _ = s.renat(t, "nodes", "node-y"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "node-y") {
		t.Errorf("one node:\n%s", out)
	}
	if code, out, _ := s.renat(t, "status"); code != usage.Found || !strings.Contains(out, "5: 2 blind") ||
		!strings.Contains(out, "node-x, node-y: blind: agent is not ready: no pod of renat's agent runs there") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if _, out, _ = s.renat(t, "advise"); !strings.Contains(out, "node-x, node-y") {
		t.Errorf("advice does not say for whom it is not:\n%s", out)
	}
	s.forbidden["list nodes"] = true
	if code, out, errs := s.renat(t, "nodes"); code != usage.Done || strings.Contains(out, "node-x") || errs != "nodes without an agent are not shown: you may not list nodes\n" {
		t.Errorf("exit %d, %s", code, errs)
	}
	if code, _, errs := s.renat(t, "nodes", "--node-selector", "renat=off"); code != usage.Done || !strings.Contains(errs, "may not list nodes") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func TestNodesFormats(t *testing.T) {
	s := threeNodes(t)
	_, out, _ := s.renat(t, "nodes", "-o", "json")
	var got struct {
		Nodes []struct {
			State nodestatus.State
			Node  string
			Maps  []nodestatus.Map
		}
		Silent []any
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Nodes) != 3 || got.Nodes[0].State != nodestatus.Breaking || len(got.Nodes[0].Maps) != 2 || got.Silent == nil {
		t.Errorf("%v, %s", err, out)
	}
	if _, out, _ = s.renat(t, "nodes", "-o", "name"); out != "node/node-c\nnode/node-b\nnode/ip-10-0-1-17.eu-central-1.compute.internal\n" {
		t.Errorf("names %q", out)
	}
	if _, out, _ = s.renat(t, "nodes", "-o", "yaml"); !strings.Contains(out, "\n    evictions: 500000\n") && !strings.Contains(out, "evictions: 500000\n") {
		t.Errorf("YAML:\n%s", out)
	}
	if _, out, _ = s.renat(t, "nodes", "-o", "wide"); !strings.Contains(out, "ip-10-0-1-17.eu-central-1.compute.internal") || !strings.Contains(out, "6.12.0") {
		t.Errorf("wide:\n%s", out)
	}
	if code, _, errs := s.renat(t, "nodes", "-o", "xml"); code != usage.Wrong || !strings.Contains(errs, "wide, json, yaml, name") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if _, out, _ = s.renat(t, "nodes", "--color", "always"); !strings.Contains(out, "\x1b[31mbreaking") {
		t.Errorf("no colour: %q", out)
	}
}

// TestPartialAnswers has agents fail in each way, beside one that answers.
func TestPartialAnswers(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	old := node("old", func(n *nodestatus.Status) { n.Version = 99 })
	s.pods = []testPod{
		node("fine", nil), old,
		{name: "renat-agent-refused", node: "refused", phase: "Running"},
		{name: "renat-agent-dead", node: "dead", phase: "Running", delay: -1},
		{name: "renat-agent-new", node: "new", phase: "Pending"},
		{name: "renat-agent-shy", node: "shy", phase: "Running", agent: access("192.0.2.1/32").Wrap(http.NotFoundHandler())},
		{name: "renat-agent-tls", node: "tls", phase: "Running", agent: refuses(http.StatusBadRequest, "Client sent an HTTP request to an HTTPS server.")},
		{name: "renat-agent-token", node: "token", phase: "Running", agent: refuses(http.StatusUnauthorized, "not signed in")},
	}
	s.busy.Store(2)
	code, out, errs := s.renat(t, "nodes", "--agent-timeout", "3s")
	if code != usage.Done || strings.Count(out, "\n") != 2 || !strings.Contains(out, "\nfine ") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
	want := `7 of 8 nodes did not answer:
  dead: no answer within 3s
  new: its pod renat-agent-new is Pending
  old: its status has version 99, this renat knows 1: use the version of the agent
  refused: error trying to reach service: dial tcp 10.0.0.7:9969: connect: connection refused: nothing listens there, agents do on their own loopback unless they get --listen :9969
  shy: it answers to its own machine only: start the agents with --http-user-header X-Forwarded-For and --http-trusted-proxies with the API server's addresses, to let in whom that lets through
  tls: it answered 400 Bad Request: Client sent an HTTP request to an HTTPS server.: use --agent-tls
  token: it answered 401 Unauthorized: not signed in: the API server passes no token on; start the agents with --http-user-header X-Forwarded-For and --http-trusted-proxies with the API server's addresses
`
	if errs != want {
		t.Errorf("got\n%swant\n%s", errs, want)
	}
	s.pods = s.pods[2:4]
	for _, command := range []string{"nodes", "incidents", "at-risk"} {
		if code, out, errs := s.renat(t, command, "--agent-timeout", "3s"); code != usage.Failed || out != "" || !strings.HasPrefix(errs, "2 of 2 nodes did not answer") || !strings.Contains(errs, "no node answered") {
			t.Errorf("%s, and nobody answers: exit %d, %s%s", command, code, out, errs)
		}
	}
	s.pods = []testPod{node("fine", nil)}
	if code, _, errs := s.renat(t, "nodes", "--agent-tls"); code != usage.Failed || !strings.Contains(errs, "does not look like a TLS handshake: leave out --agent-tls") {
		t.Errorf("TLS where none is: exit %d, %s", code, errs)
	}
}

// refuses answers so to all.
func refuses(code int, what string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, what, code) })
}

// TestThousandNodes shows a thousand nodes, 50 of which do not answer, in bounded
// memory. How long that takes, internal/view/fleet tests.
func TestThousandNodes(t *testing.T) {
	s := newAPIServer(t)
	for i := range 1000 {
		p := node(fmt.Sprintf("node-%04d", i), nil)
		p.delay = 100 * time.Millisecond
		if i%20 == 7 {
			p.agent = nil
		}
		s.pods = append(s.pods, p)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	code, out, errs := s.renat(t, "nodes", "--agent-timeout", "1m")
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if code != usage.Done || strings.Count(out, "\n") != 951 || !strings.Contains(errs, "50 of 1000 nodes did not answer") || !strings.Contains(errs, "and 40 more") {
		t.Errorf("exit %d, %d lines, %s", code, strings.Count(out, "\n"), errs)
	}
	// The server is in this process, too.
	sys, alloc := after.Sys-before.Sys, after.TotalAlloc-before.TotalAlloc
	t.Logf("%v; %d MiB more from the system, %d MiB allocated in all, the server's included", took, sys>>20, alloc>>20)
	if sys > 256<<20 {
		t.Errorf("it took %d MiB of memory", sys>>20)
	}
}

// TestTablesFit has the longest of everything in the tables: they fit a
// terminal, but for sentences, which are the last column.
func TestTablesFit(t *testing.T) {
	t.Setenv("COLUMNS", "120")
	s := newAPIServer(t)
	long := strings.Repeat("name", 16)
	broken := found(long, 1)
	broken.Kind, broken.Outcome = incident.OrphanedReply, incident.Unconfirmed
	broken.Source.Workload, broken.Destination.Names = "Deployment/"+long, []string{long + ".example.com"}
	s.pods = []testPod{node(long, func(n *nodestatus.Status) {
		breaking(n)
		n.Renat = "v10.20.30-rc.1-dirty"
		n.Maps[1].Name, n.Maps[1].MaxEntries = "cilium_per_cluster_snat_v4_external_255", 1<<24
		n.Incidents.Reset, n.Incidents.Unconfirmed, n.Losses["hubble_ring"] = 12345, 6789, 123456
	}, broken)}
	for _, verb := range [][]string{{"nodes"}, {"incidents"}, {"incidents", "--group-by", "destination"}, {"advise"}, {"top"}} {
		_, out, errs := s.renat(t, verb...)
		table, _, _ := strings.Cut(out, "\nIn force")
		table, _, _ = strings.Cut(table, "\nNot in force")
		for _, line := range strings.Split(table, "\n") {
			line, _, _ = strings.Cut(line, "the map of 16777216 entries evicts to make room")
			if n := utf8.RuneCountInString(line); n > 120 {
				t.Errorf("%s: a line of %d characters: %s", verb, n, line)
			}
		}
		if !strings.Contains(out, "…") && verb[0] != "top" {
			t.Errorf("%s shortens nothing: %s%s", verb, out, errs)
		}
	}
}
