// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestIncidents(t *testing.T) {
	time.Local = time.UTC
	s := threeNodes(t)
	code, out, errs := s.renat(t, "incidents")
	id := found("node-c", 2).ID
	want := "TIME            SOURCE                DESTINATION          KIND   OUTCOME  ID\n" +
		"11-22 12:00:02  shop/Deployment/cart  api.example.com:443  renat  reset    " + id[:12] + "\n" +
		"11-22 12:00:01  shop/Deployment/cart  api.example.com:443  renat  reset    " + found("node-c", 1).ID[:12] + "\n"
	if code != exitDone || out != want || errs != "" {
		t.Errorf("exit %d, %s\n%swant\n%s", code, errs, out, want)
	}
	if _, out, errs = s.renat(t, "incidents", "--limit", "1", "-o", "name"); out != "incident/"+id+"\n" {
		t.Errorf("%s%s", out, errs)
	}
	if _, out, _ = s.renat(t, "incidents", "-n", "pay"); strings.Count(out, "\n") != 1 {
		t.Errorf("of another namespace:\n%s", out)
	}
	_, out, _ = s.renat(t, "incidents", "--group-by", "destination")
	want = "DESTINATION          INCIDENTS  RESET  NODES  LAST\napi.example.com:443          2      2      1  11-22 12:00:02\n"
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	for _, args := range [][]string{{"--kind", "x"}, {"--group-by", "x"}, {"--limit", "-1"}, {"--since", "soon"}} {
		if code, _, errs := s.renat(t, append([]string{"incidents"}, args...)...); code != exitUsage || !strings.Contains(errs, args[0]) {
			t.Errorf("%s: exit %d, %s", args, code, errs)
		}
	}
}

func TestDescribe(t *testing.T) {
	s := threeNodes(t)
	id := found("node-c", 2).ID
	for _, given := range []string{id, id[:12], "incident/" + id} {
		code, out, errs := s.renat(t, "describe", given)
		if code != exitDone || !strings.Contains(out, "EVIDENCE") || !strings.Contains(out, "OUT entry evicted") || !strings.Contains(out, "1 connection of shop/Deployment/cart") {
			t.Errorf("%s: exit %d, %s\n%s", given, code, errs, out)
		}
	}
	if code, _, errs := s.renat(t, "describe", strings.Repeat("0", 32)); code != exitFailed || !strings.Contains(errs, "no node that answered has this incident") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if code, _, _ := s.renat(t, "describe", "abc"); code != exitUsage {
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

In force: bpf-map-dynamic-size-ratio 0.0025

Helm values of Cilium that stop it:

  bpf:
    natMax: 352256  # bpf-nat-global-max
    ctTcpMax: 286720  # bpf-ct-global-tcp-max

Memory: 43 MiB a node for its NAT maps, 15 MiB now.
`
	for _, part := range []string{
		"60000 entries of open connections\n", "Effect: Cilium's agents restart", "Or: conntrackGCInterval: 1m0s would need bpf.natMax: 204800 only",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is missing", part)
		}
	}
	got := strings.Split(out, "\n")
	// Nodes are in the order of names, which is not that of this table.
	if code != exitDone || errs != "" || len(got) < 14 || strings.Join(got[4:14], "\n") != strings.Join(strings.Split(want, "\n")[4:14], "\n") {
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

func TestAdviseWithOtherSettings(t *testing.T) {
	s := threeNodes(t)
	s.config = nil
	if code, out, _ := s.renat(t, "advise"); code != exitDone || !strings.Contains(out, "namespace kube-system has no ConfigMap cilium-config: Cilium's defaults are assumed") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	file := filepath.Join(t.TempDir(), "cm.yaml")
	if err := os.WriteFile(file, []byte("kind: ConfigMap\ndata:\n  bpf-nat-global-max: \"131072\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := s.renat(t, "advise", "--cilium-config", file); code != exitDone || !strings.Contains(out, "In force: bpf-nat-global-max 131072\n") {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
	s.config = map[string]string{"bpf-nat-global-max": "lots"}
	if code, _, errs := s.renat(t, "advise"); code != exitFailed || !strings.Contains(errs, `bpf-nat-global-max: "lots" is not understood`) {
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
	if code != exitDone || out != want || errs != "" {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	if code, _, errs = s.renat(t, "top", "--node-name", "gone"); code != exitFailed || !strings.Contains(errs, "no agent runs on node gone") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

// TestDenied wants the missing rule, to the letter.
func TestDenied(t *testing.T) {
	for _, c := range []struct{ right, verb, want string }{
		{"list pods", "nodes", `kubectl renat: listing the agents' pods: pods is forbidden: User "dev" cannot list resource "pods" in API group "" in the namespace "renat"
the missing rule, of a Role in namespace renat:
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
or: kubectl -n renat create role renat-pods --verb=list --resource=pods
`},
		{"get pods/proxy", "nodes", `kubectl renat: reaching the agents through the API server: pods "renat-agent-ip-10-0-1-17.eu-central-1.compute.internal" is forbidden: User "dev" cannot get resource "pods/proxy" in API group "" in the namespace "renat"
the missing rule, of a Role in namespace renat:
  - apiGroups: [""]
    resources: [pods/proxy]
    verbs: [get]
or: kubectl -n renat create role renat-pods-proxy --verb=get --resource=pods/proxy
`},
		{"get configmaps", "advise", `kubectl renat: reading Cilium's settings: configmaps "cilium-config" is forbidden: User "dev" cannot get resource "configmaps" in API group "" in the namespace "kube-system"
the missing rule, of a Role in namespace kube-system:
  - apiGroups: [""]
    resources: [configmaps]
    resourceNames: [cilium-config]
    verbs: [get]
or: kubectl -n kube-system create role renat-configmaps --verb=get --resource=configmaps --resource-name=cilium-config
`},
	} {
		s := threeNodes(t)
		s.forbidden[c.right] = true
		if code, out, errs := s.renat(t, c.verb); code != exitFailed || out != "" || errs != c.want {
			t.Errorf("%s: exit %d, %s\ngot\n%swant\n%s", c.right, code, out, errs, c.want)
		}
	}
}

func TestWrongServer(t *testing.T) {
	s := threeNodes(t)
	var out, errs bytes.Buffer
	if code := run(t.Context(), &out, &errs, []string{"nodes", "--kubeconfig", s.kubeconfig(t, "stale")}); code != exitFailed || !strings.Contains(errs.String(), "log in again") {
		t.Errorf("a stale token: exit %d, %s", code, &errs)
	}
	if code, _, errs := s.renat(t, "nodes", "--agent-namespace", "other"); code != exitFailed || !strings.Contains(errs, "namespace other has no pods with the labels app.kubernetes.io/name=renat") {
		t.Errorf("no agents: exit %d, %s", code, errs)
	}
	if code, _, errs := s.renat(t, "nodes", "--context", "none"); code != exitFailed || !strings.Contains(errs, `context "none" does not exist`) {
		t.Errorf("no such context: exit %d, %s", code, errs)
	}
	if code, _, errs := s.renat(t, "nodes", "--nats-url", "nats://127.0.0.1:1"); code != exitFailed || !strings.Contains(errs, "127.0.0.1:1") {
		t.Errorf("no NATS: exit %d, %s", code, errs)
	}
	gone := newAPIServer(t)
	gone.Close()
	if code, _, errs := gone.renat(t, "nodes"); code != exitFailed || !strings.Contains(errs, "connection refused") {
		t.Errorf("no server: exit %d, %s", code, errs)
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
	if cmd.ProcessState.ExitCode() != exitFound || !strings.HasPrefix(string(out), "node/node-c\n") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCompletion(t *testing.T) {
	s := newAPIServer(t)
	for args, want := range map[string]string{
		"nodes --fail-on ": "evicting\nbreaking\n", "incidents --group-by ": "workload\ndestination\nnode\n", "n": "nodes", "top -o ": "wide\njson\nyaml\nname\n",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), &out, &errs, append([]string{"__complete"}, strings.Split(args, " ")...)); code != exitDone || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%q: %q", args, &out)
		}
	}
	if n := s.requests.Load(); n != 0 {
		t.Errorf("completion made %d requests", n)
	}
}
