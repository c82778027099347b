// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
)

func TestIncidents(t *testing.T) {
	time.Local = time.UTC
	s := threeNodes(t)
	code, out, errs := s.renat(t, "incidents")
	id := found("node-c", 2).ID
	want := "TIME                 ID        NODE    SOURCE                DESTINATION          KIND   CAUSE         OUTCOME\n" +
		"Nov 22 12:00:02.000  " + id[:8] + "  node-c  shop/Deployment/cart  api.example.com:443  renat  lru_eviction  reset\n" +
		"Nov 22 12:00:01.000  " + found("node-c", 1).ID[:8] + "  node-c  shop/Deployment/cart  api.example.com:443  renat  lru_eviction  reset\n"
	if code != usage.Done || out != want || errs != "" {
		t.Errorf("exit %d, %s\n%swant\n%s", code, errs, out, want)
	}
	if _, out, errs = s.renat(t, "incidents", "--limit", "1", "-o", "name"); out != "incident/"+id+"\n" {
		t.Errorf("%s%s", out, errs)
	}
	if code, out, errs = s.renat(t, "incidents", "-n", "pay"); code != usage.Done || out != "" || errs != "No resources found\n" {
		t.Errorf("of another namespace: exit %d, %s\n%s", code, errs, out)
	}
	if _, out, errs = s.renat(t, "incidents", "-A", "--no-headers", "--limit", "1"); !strings.HasPrefix(out, "Nov 22 12:00:02.000  "+id[:8]) || strings.Contains(out, "TIME") {
		t.Errorf("without titles: %s\n%s", errs, out)
	}
	_, out, _ = s.renat(t, "incidents", "--group-by", "destination")
	want = "DESTINATION          INCIDENTS  RESET  NODES  LAST\napi.example.com:443          2      2      1  Nov 22 12:00:02.000\n"
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	for _, args := range [][]string{{"--kind", "x"}, {"--group-by", "x"}, {"--limit", "-1"}, {"--since", "soon"}} {
		if code, _, errs := s.renat(t, append([]string{"incidents"}, args...)...); code != usage.Wrong || !strings.Contains(errs, args[0]) {
			t.Errorf("%s: exit %d, %s", args, code, errs)
		}
	}
}

func TestDescribe(t *testing.T) {
	s := threeNodes(t)
	id := found("node-c", 2).ID
	for _, given := range []string{id, id[:12], "incident/" + id} {
		code, out, errs := s.renat(t, "describe", given)
		if code != usage.Done || !strings.Contains(out, "EVIDENCE") || !strings.Contains(out, "OUT entry evicted") || !strings.Contains(out, "1 connection of shop/Deployment/cart") {
			t.Errorf("%s: exit %d, %s\n%s", given, code, errs, out)
		}
	}
	if code, _, errs := s.renat(t, "describe", strings.Repeat("0", 32)); code != usage.Failed || !strings.Contains(errs, "no node that answered has this incident") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if code, _, errs := s.renat(t, "describe", "000000"); code != usage.Failed || errs != "kubectl renat: incident 000000: no node that answered has this incident\n" {
		t.Errorf("exit %d, %s", code, errs)
	}
	if code, _, _ := s.renat(t, "describe", "abc"); code != usage.Wrong {
		t.Errorf("exit %d for a short id", code)
	}
}

func TestAdvise(t *testing.T) {
	s := threeNodes(t)
	code, out, errs := s.renat(t, "advise", "--explain")
	want := `NODE                          MAP        SIZE  VERDICT  ENOUGH  WHY
node-c                        snat_v4  131072  grow     352256  the map of 131072 entries evicts to make room
node-b                        snat_v4  131072  grow     352256  the map of 131072 entries evicts to make room
ip-10-0-1-17.eu-ce….internal  snat_v4  131072  enough    49152  at its fullest the map held 40000 of 131072 entri…

In force: bpf-map-dynamic-size-ratio 0.0025.

Helm values of Cilium that stop it, to be set together:

  bpf:
    natMax: 352256  # bpf-nat-global-max
    ctTcpMax: 286720  # bpf-ct-global-tcp-max

Memory: 43 MiB a node for its NAT maps, 15 MiB now.
`
	for _, part := range []string{
		"60000 entries of open connections\n", "Effect: Cilium's agents restart", "Or: conntrackGCInterval: 1m0s would need bpf.natMax: 204800, bpf.ctTcpMax: 139264 only",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is missing", part)
		}
	}
	got := strings.Split(out, "\n")
	// Nodes are in the order of names, which is not that of this table.
	if code != usage.Done || errs != "" || len(got) < 14 || strings.Join(got[4:14], "\n") != strings.Join(strings.Split(want, "\n")[4:14], "\n") {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	_, out, _ = s.renat(t, "advise", "-o", "json")
	var plan struct {
		Values []struct{ Path, Value string }
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil || len(plan.Values) != 2 || plan.Values[0].Path != "bpf.natMax" {
		t.Errorf("%v: %s", err, out)
	}
	if _, out, _ = s.renat(t, "advise", "-o", "name"); out != "node/node-b\nnode/node-c\n" {
		t.Errorf("names: %q", out)
	}
}

// TestAdviseWithNodeConfigs wants those named that change the sizes of maps, and
// the sizes of their nodes to be set in them.
func TestAdviseWithNodeConfigs(t *testing.T) {
	s := threeNodes(t)
	s.overrides = `{"items": [
		{"metadata": {"name": "large"}, "spec": {"nodeSelector": {"matchLabels": {"pool": "large"}}, "defaults": {"bpf-nat-global-max": "1048576", "debug": "true"}}},
		{"metadata": {"name": "debug"}, "spec": {"nodeSelector": {}, "defaults": {"debug": "true"}}},
		{"metadata": {"name": "all"}, "spec": {"nodeSelector": {}, "defaults": {"bpf-ct-global-tcp-max": "600000"}}},
		{"metadata": {"name": "none"}, "spec": {"defaults": {"bpf-ct-global-tcp-max": "600000"}}}]}`
	s.labels = map[string]map[string]string{"node-c": {"pool": "large"}}
	code, out, errs := s.renat(t, "advise")
	for _, want := range []string{`
Settings: CiliumNodeConfig kube-system/all sets bpf-ct-global-tcp-max=600000 on all nodes, and goes before the ConfigMap there.
Settings: CiliumNodeConfig kube-system/large sets bpf-nat-global-max=1048576 on the nodes with pool=large, and goes before the ConfigMap there.
`, `
On ip-10-0-1-17.eu-central-1.compute.internal, node-b CiliumNodeConfig kube-system/all goes before the ConfigMap.
`, `
To be set together in CiliumNodeConfig kube-system/all:

  spec:
    defaults:
      bpf-nat-global-max: "`, `
On node-c CiliumNodeConfig kube-system/large goes before the ConfigMap.
`, "Refused: bpf-nat-global-max 1048576 is more than bpf-ct-global-tcp-max and bpf-ct-global-any-max together", `
To be set together in CiliumNodeConfig kube-system/large:
`} {
		if code != usage.Done || !strings.Contains(out, want) {
			t.Errorf("exit %d, %s, without %s\n%s", code, errs, want, out)
		}
	}
	if strings.Contains(out, "Helm values") {
		t.Errorf("advises what goes for no node:\n%s", out)
	}
	s.forbidden["list nodes"] = true
	if code, out, errs := s.renat(t, "advise"); code != usage.Done || !strings.Contains(out, "set the same in it (you may not list nodes, so which these are is not known)") {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	s.forbidden["list ciliumnodeconfigs"] = true
	if code, out, errs := s.renat(t, "advise"); code != usage.Done || !strings.Contains(out, "Settings: you may not list the CiliumNodeConfigs in namespace kube-system, which") {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
}

func TestAdviseWithOtherSettings(t *testing.T) {
	s := threeNodes(t)
	s.config = nil
	if code, out, _ := s.renat(t, "advise"); code != usage.Done || !strings.Contains(out, "namespace kube-system has no ConfigMap cilium-config, so the sizes of the maps are taken as they are") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	file := filepath.Join(t.TempDir(), "cm.yaml")
	if err := os.WriteFile(file, []byte("kind: ConfigMap\ndata:\n  bpf-nat-global-max: \"131072\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := s.renat(t, "advise", "--cilium-config", file); code != usage.Done || !strings.Contains(out, "In force: bpf-nat-global-max 131072.\n") {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
	s.config = map[string]string{"bpf-nat-global-max": "lots"}
	if code, _, errs := s.renat(t, "advise"); code != usage.Failed || !strings.Contains(errs, `bpf-nat-global-max: "lots" is not understood`) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestTop(t *testing.T) {
	s := threeNodes(t)
	code, out, errs := s.renat(t, "top", "--node-name", "node-c", "--limit", "2")
	want := `snat_v4: 130048 entries, nodes: 1

POD                      ENTRIES  SHARE  EVICTED
shop/cart-1 (10.0.1.10)    90000    69%        7
10.0.1.11                    100     0%        0
10.0.1.12                      0     0%   400000

DESTINATION    ENTRIES  SHARE  EVICTED
192.0.2.1:443    80000    62%   300000
`
	if code != usage.Done || out != want || errs != "" {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	if code, _, errs = s.renat(t, "top", "--node-name", "gone"); code != usage.Failed || !strings.Contains(errs, "no agent runs on node gone") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func TestNodesByName(t *testing.T) {
	s := threeNodes(t)
	if code, out, errs := s.renat(t, "nodes", "node-b", "--no-headers"); code != usage.Done || !strings.HasPrefix(out, "node-b ") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	if code, out, errs := s.renat(t, "nodes", "node/node-b", "-o", "name"); code != usage.Done || out != "node/node-b\n" {
		t.Errorf("as -o name has it: exit %d, %s\n%s", code, errs, out)
	}
	if code, _, errs := s.renat(t, "nodes", "node-x"); code != usage.Failed || !strings.Contains(errs, "no agent runs on node node-x") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

// A node's connections at risk are told apart from others'.
func TestAtRiskOfANode(t *testing.T) {
	s := threeNodes(t)
	s.pods = append(s.pods, testPod{name: "renat-agent-d", node: "node-d", phase: "Pending"})
	if code, out, errs := s.renat(t, "at-risk", "--node-name", "node-b", "--no-headers"); code != usage.Done || !strings.HasPrefix(out, "node-b ") || strings.Count(out, "\n") != 1 || errs != "" {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	if code, out, errs := s.renat(t, "at-risk", "--node-name", "node-d"); code != usage.Failed || out != "" || !strings.Contains(errs, "node-d: its pod renat-agent-d is Pending") {
		t.Errorf("of a silent node: exit %d, %s\n%s", code, errs, out)
	}
	if code, _, errs := s.renat(t, "at-risk", "--node-name", "node-x"); code != usage.Failed || !strings.Contains(errs, "no agent runs on node node-x") {
		t.Errorf("of none: exit %d, %s", code, errs)
	}
}

// The habits of kubectl get.
func TestListing(t *testing.T) {
	s := threeNodes(t)
	code, out, errs := s.renat(t, "nodes", "-n", "renat", "--sort-by", ".incidents.total", "-o", "custom-columns=NODE:.node,STATE:{.state},TOTAL:incidents.total,NONE:.nothing")
	want := `NODE                                        STATE     TOTAL  NONE
node-b                                      evicting  0      <none>
ip-10-0-1-17.eu-central-1.compute.internal  ok        0      <none>
node-c                                      breaking  15     <none>
`
	if code != usage.Done || out != want {
		t.Errorf("exit %d, %s\n%swant\n%s", code, errs, out, want)
	}
	if code, out, errs = s.renat(t, "incidents", "--sort-by", "time", "-o", "custom-columns=WHO:.data.source.workload", "--no-headers"); code != usage.Done || out != "Deployment/cart\nDeployment/cart\n" {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	if code, out, errs = s.renat(t, "incidents", "--sort-by", ".time", "-o", "name"); code != usage.Done || out != "incident/"+found("node-c", 1).ID+"\nincident/"+found("node-c", 2).ID+"\n" {
		t.Errorf("by time: exit %d, %s\n%s", code, errs, out)
	}
	for _, args := range [][]string{
		{"nodes", "-o", "custom-columns=NODE"}, {"nodes", "-o", "custom-columns=NODE:"}, {"nodes", "--sort-by", ".nothing"}, {"nodes", "--sort-by", "{"},
		{"incidents", "-w", "-o", "json"}, {"incidents", "-w", "--group-by", "node"},
	} {
		if code, out, errs := s.renat(t, args...); code != usage.Wrong || out != "" {
			t.Errorf("%v: exit %d, %s%s", args, code, out, errs)
		}
	}
	if code, _, errs := s.renat(t, "nodes", "-n", "other"); code != usage.Failed || !strings.Contains(errs, "namespace other has no pods") {
		t.Errorf("of another namespace: exit %d, %s", code, errs)
	}
}

func TestVersion(t *testing.T) {
	s := newAPIServer(t)
	var v struct{ Program, Version string }
	if _, out, _ := s.renat(t, "version", "-o", "json"); json.Unmarshal([]byte(out), &v) != nil || v.Program != "kubectl-renat" || v.Version == "" {
		t.Errorf("got %s", out)
	}
	if code, out, _ := s.renat(t, "--version"); code != usage.Done || out != "kubectl-renat "+v.Version+"\n" {
		t.Errorf("exit %d, %s", code, out)
	}
}

// What all commands have is shown once, as kubectl does it.
func TestOptions(t *testing.T) {
	s := newAPIServer(t)
	if code, out, _ := s.renat(t, "options"); code != usage.Done || !strings.Contains(out, "--agent-selector string") || !strings.Contains(out, "--context string") {
		t.Errorf("exit %d, %s", code, out)
	}
	for _, verb := range []string{"nodes", "incidents", ""} {
		args := []string{"--help"}
		if verb != "" {
			args = []string{verb, "--help"}
		}
		_, out, _ := s.renat(t, args...)
		if strings.Contains(out, "--agent-selector string") || !strings.HasSuffix(out, "Use \"kubectl renat options\" for the flags that all commands have.\n") || verb == "nodes" && !strings.Contains(out, "--sort-by string") {
			t.Errorf("%s", out)
		}
	}
}

// Incidents that come while it runs are shown, once each, the oldest first.
func TestWatchIncidents(t *testing.T) {
	s := newAPIServer(t)
	b := board.New(board.Config{})
	now := time.Now()
	add := func(n int) {
		i := found("node-c", n)
		i.Time = now.Add(time.Duration(n) * time.Second)
		b.Add(i, uint64(n))
	}
	add(2)
	add(1)
	s.pods = []testPod{{name: "renat-agent-c", node: "node-c", phase: "Running", agent: access("10.0.0.0/24").Wrap(api.New(api.Config{Board: b}))}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, w := io.Pipe()
	ended := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		ended <- run(ctx, w, &errs, []string{"--kubeconfig", s.kubeconfig(t, token), "incidents", "-w", "-o", "name"})
		w.Close()
	}()
	lines := bufio.NewScanner(out)
	for n := 1; n <= 4; n++ {
		if n == 3 {
			add(4)
			add(3)
		}
		if !lines.Scan() || lines.Text() != "incident/"+found("node-c", n).ID {
			t.Fatalf("line %d is %q; %s", n, lines.Text(), &errs)
		}
	}
	cancel()
	if code := <-ended; code != usage.Done || lines.Scan() {
		t.Errorf("exit %d, %q, %s", code, lines.Text(), &errs)
	}
}

// Who has no cluster is told so, not of localhost:8080.
func TestNoKubeconfig(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", "/does/not/exist")
	var out, errs bytes.Buffer
	code := run(t.Context(), &out, &errs, []string{"nodes"})
	if code != usage.Failed || !strings.Contains(errs.String(), "no cluster is configured: /does/not/exist does not exist") || strings.Contains(errs.String(), "8080") {
		t.Errorf("exit %d, %s", code, &errs)
	}
}

func TestUsagePointsToTheVerb(t *testing.T) {
	for want, args := range map[string][]string{
		"ID is missing":                        {"describe"},
		"'kubectl renat nodes --help' for its": {"nodes", "--folow"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), &out, &errs, args); code != usage.Wrong || !strings.Contains(errs.String(), want) {
			t.Errorf("%v: exit %d, %s", args, code, &errs)
		}
	}
}

// TestKubectlFindsIt has the real kubectl run the plugin.
func TestKubectlFindsIt(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Fatalf("%v: install Debian's kubernetes-client", err)
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "kubectl-renat"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := threeNodes(t)
	cmd := exec.CommandContext(t.Context(), kubectl, "renat", "nodes", "--fail-on", "breaking", "-o", "name")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KUBECONFIG="+s.kubeconfig(t, token))
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != usage.Found || !strings.HasPrefix(string(out), "node/node-c\n") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCompletion(t *testing.T) {
	s := newAPIServer(t)
	for args, want := range map[string]string{
		"nodes --fail-on ": "evicting\nbreaking\ndegraded\nblind\n", "incidents --group-by ": "workload\ndestination\nnode\n", "n": "nodes",
		"top -o ": "json\nyaml\n:", "advise -o ": "wide\njson\nyaml\nname\n",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), &out, &errs, append([]string{"__complete"}, strings.Split(args, " ")...)); code != usage.Done || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%q: %q", args, &out)
		}
	}
	if n := s.requests.Load(); n != 0 {
		t.Errorf("completion made %d requests", n)
	}
}
