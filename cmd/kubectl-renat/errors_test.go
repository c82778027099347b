// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/view/usage"
)

// TestDenied wants the missing rule, to the letter.
func TestDenied(t *testing.T) {
	for _, c := range []struct{ right, verb, want string }{
		{"list pods", "nodes", `kubectl renat: listing the agents' pods: pods is forbidden: User "dev" cannot list resource "pods" in API group "" in the namespace "renat"
the missing rule, of a Role in namespace renat:
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
or: kubectl -n renat create role renat-list-pods --verb=list --resource=pods
    kubectl -n renat create rolebinding renat-list-pods --role=renat-list-pods --user=dev
`},
		{"get pods/proxy", "nodes", `kubectl renat: reaching the agents through the API server: pods "http:renat-agent-ip-10-0-1-17.eu-central-1.compute.internal:9969" is forbidden: User "dev" cannot get resource "pods/proxy" in API group "" in the namespace "renat"
the missing rule, of a Role in namespace renat:
  - apiGroups: [""]
    resources: [pods/proxy]
    verbs: [get]
or: kubectl -n renat create role renat-get-pods-proxy --verb=get --resource=pods/proxy
    kubectl -n renat create rolebinding renat-get-pods-proxy --role=renat-get-pods-proxy --user=dev
`},
		{"get configmaps", "advise", `kubectl renat: reading Cilium's settings: configmaps "cilium-config" is forbidden: User "dev" cannot get resource "configmaps" in API group "" in the namespace "kube-system"
the missing rule, of a Role in namespace kube-system:
  - apiGroups: [""]
    resources: [configmaps]
    resourceNames: [cilium-config]
    verbs: [get]
or: kubectl -n kube-system create role renat-get-configmaps --verb=get --resource=configmaps --resource-name=cilium-config
    kubectl -n kube-system create rolebinding renat-get-configmaps --role=renat-get-configmaps --user=dev
`},
	} {
		s := threeNodes(t)
		s.forbidden[c.right] = true
		if code, out, errs := s.renat(t, c.verb); code != usage.Failed || out != "" || errs != c.want {
			t.Errorf("%s: exit %d, %s\ngot\n%swant\n%s", c.right, code, out, errs, c.want)
		}
	}
}

func TestWrongServer(t *testing.T) {
	s := threeNodes(t)
	var out, errs bytes.Buffer
	if code := run(t.Context(), &out, &errs, []string{"nodes", "--kubeconfig", s.kubeconfig(t, "stale")}); code != usage.Failed || !strings.Contains(errs.String(), "log in again") {
		t.Errorf("a stale token: exit %d, %s", code, &errs)
	}
	if code, _, errs := s.renat(t, "nodes", "--agent-namespace", "other"); code != usage.Failed || !strings.Contains(errs, "namespace other has no pods with the labels app.kubernetes.io/name=renat") {
		t.Errorf("no agents: exit %d, %s", code, errs)
	}
	if code, _, errs := s.renat(t, "nodes", "--context", "none"); code != usage.Failed || !strings.Contains(errs, `context "none" does not exist`) {
		t.Errorf("no such context: exit %d, %s", code, errs)
	}
	if code, _, errs := s.renat(t, "nodes", "--nats-url", "nats://127.0.0.1:1"); code != usage.Failed || !strings.Contains(errs, "127.0.0.1:1") {
		t.Errorf("no NATS: exit %d, %s", code, errs)
	}
	if code, _, errs := s.renat(t, "nodes", "--as", "boss"); code != usage.Failed || errs != `kubectl renat: listing the agents' pods: users "boss" is forbidden: User "dev" cannot impersonate resource "users" in API group "" at the cluster scope`+"\n" {
		t.Errorf("as another: exit %d, %s", code, errs)
	}
	gone := newAPIServer(t)
	gone.Close()
	want := "kubectl renat: listing the agents' pods: reaching the API server at " + gone.URL + ": dial tcp " + gone.Listener.Addr().String() + ": connect: connection refused\n"
	if code, _, errs := gone.renat(t, "nodes"); code != usage.Failed || errs != want {
		t.Errorf("no server: exit %d, %s", code, errs)
	}
}
