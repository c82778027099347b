// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
)

const token = "a-users-token"

// apiServer answers as Kubernetes' does.
type apiServer struct {
	*httptest.Server
	pods      []testPod
	hubs      []testPod
	config    map[string]string            // of cilium-config; nil: there is none
	overrides string                       // the CiliumNodeConfigs
	bare      []string                     // nodes without an agent
	labels    map[string]map[string]string // of nodes
	forbidden map[string]bool              // "list pods", "get pods/proxy", …
	busy      atomic.Int32                 // so many requests are told to come later
	requests  atomic.Int32
}

// testPod is an agent's pod.
type testPod struct {
	name, node, phase string
	agent             http.Handler  // nil: nothing listens
	delay             time.Duration // negative: it never answers
}

func newAPIServer(t testing.TB) *apiServer {
	t.Helper()
	s := &apiServer{forbidden: map[string]bool{}, config: map[string]string{"bpf-map-dynamic-size-ratio": "0.0025"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods", s.listPods)
	mux.HandleFunc("GET /api/v1/pods", s.podOfAddress)
	mux.HandleFunc("GET /api/v1/nodes", s.listNodes)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{pod}", s.pod)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{pod}/proxy/{path...}", s.proxy)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{pod}/log", s.log)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/configmaps/{name}", s.configMap)
	mux.HandleFunc("GET /apis/cilium.io/{version}/namespaces/kube-system/ciliumnodeconfigs", s.nodeConfigs)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		switch {
		case s.busy.Add(-1) >= 0:
			w.Header().Set("Retry-After", "0")
			fail(w, http.StatusTooManyRequests, "TooManyRequests", "too many requests, please try again later")
		case r.Header.Get("Authorization") != "Bearer "+token:
			fail(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
		case r.Header.Get("Impersonate-User") != "":
			fail(w, http.StatusForbidden, "Forbidden", `users "boss" is forbidden: User "dev" cannot impersonate resource "users" in API group "" at the cluster scope`)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS() // client-go sends no token without
	t.Cleanup(s.CloseClientConnections)
	return s
}

// fail answers with a Status, as the API server's own errors are.
func fail(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// denied does what RBAC does.
func (s *apiServer) denied(w http.ResponseWriter, verb, resource, namespace, name string) bool {
	if !s.forbidden[verb+" "+resource] {
		return false
	}
	in := "at the cluster scope"
	if namespace != "" {
		in = fmt.Sprintf("in the namespace %q", namespace)
	}
	if name != "" {
		name = fmt.Sprintf(" %q", name)
	}
	short, _, _ := strings.Cut(resource, "/")
	fail(w, http.StatusForbidden, "Forbidden", fmt.Sprintf("%s%s is forbidden: User \"dev\" cannot %s resource %q in API group \"\" %s", short, name, verb, resource, in))
	return true
}

func (s *apiServer) listPods(w http.ResponseWriter, r *http.Request) {
	namespace := r.PathValue("namespace")
	if s.denied(w, "list", "pods", namespace, "") {
		return
	}
	component, ok := strings.CutPrefix(r.URL.Query().Get("labelSelector"), "app.kubernetes.io/name=renat,app.kubernetes.io/component=")
	pods := map[string][]testPod{"agent": s.pods, "hub": s.hubs}[component]
	if namespace != "renat" || !ok {
		pods = nil
	}
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	to := min(from+limit, len(pods))
	list := map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{}}
	if to < len(pods) {
		list["metadata"] = map[string]any{"continue": strconv.Itoa(to)}
	}
	items := []any{}
	for _, p := range pods[from:to] {
		items = append(items, map[string]any{
			"metadata": map[string]any{"name": p.name, "namespace": namespace},
			"spec": map[string]any{"nodeName": p.node, "containers": []any{map[string]any{"name": "sidecar"}, map[string]any{
				"name": component, "args": []string{"--cluster-name=prod", "--nats-url=nats://hub:geheim@nats.example:4222"},
				"env": []any{map[string]any{"name": "A", "value": "of-the-environment"}},
			}}},
			"status": map[string]any{"phase": p.phase, "containerStatuses": []any{map[string]any{"name": "sidecar", "restartCount": 9}, map[string]any{"name": component, "restartCount": strings.Count(p.name, "node-c")}}},
		})
	}
	list["items"] = items
	_ = json.NewEncoder(w).Encode(list)
}

// listNodes gives names alone, two a page, to who asks for these.
func (s *apiServer) listNodes(w http.ResponseWriter, r *http.Request) {
	if s.denied(w, "list", "nodes", "", "") {
		return
	}
	names := slices.Clone(s.bare)
	for _, p := range s.pods {
		names = append(names, p.node)
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	to := min(from+2, len(names))
	list := map[string]any{"kind": "PartialObjectMetadataList", "metadata": map[string]any{}}
	if to < len(names) {
		list["metadata"] = map[string]any{"continue": strconv.Itoa(to)}
	}
	items := []any{}
	for _, name := range names[from:to] {
		items = append(items, map[string]any{"metadata": map[string]any{"name": name, "labels": s.labels[name]}})
	}
	list["items"] = items
	if r.URL.Query().Get("labelSelector") != "kubernetes.io/os=linux" || !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList") {
		list["items"] = []any{}
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (s *apiServer) podOfAddress(w http.ResponseWriter, r *http.Request) {
	if s.denied(w, "list", "pods", "", "") {
		return
	}
	if r.URL.Query().Get("fieldSelector") == "status.podIP=10.0.1.10" {
		fmt.Fprint(w, `{"items":[{"metadata":{"namespace":"shop","name":"cart-1"}}]}`)
		return
	}
	fmt.Fprint(w, `{"items":[]}`)
}

// pod knows those of namespace shop.
func (s *apiServer) pod(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("pod")
	node := map[string]string{"cart-1": "node-c", "old": "node-b", "elsewhere": "node-z", "pending": ""}
	at, known := node[name]
	switch {
	case s.denied(w, "get", "pods", namespace, name):
	case namespace != "shop" || !known:
		fail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("pods %q not found", name))
	case at == "":
		fmt.Fprint(w, `{"spec":{},"status":{"phase":"Pending"}}`)
	default:
		fmt.Fprintf(w, `{"spec":{"nodeName":%q},"status":{"phase":"Running","podIPs":[{"ip":"10.0.1.10"},{"ip":"fd00::10"}]}}`, at)
	}
}

func (s *apiServer) proxy(w http.ResponseWriter, r *http.Request) {
	scheme, rest, _ := strings.Cut(r.PathValue("pod"), ":")
	name, port, _ := strings.Cut(rest, ":")
	if scheme == "https" {
		fail(w, http.StatusServiceUnavailable, "ServiceUnavailable", "error trying to reach service: tls: first record does not look like a TLS handshake")
		return
	}
	if scheme != "http" || port != "9969" && port != "9972" {
		fail(w, http.StatusServiceUnavailable, "ServiceUnavailable", "error trying to reach service: not "+r.PathValue("pod"))
		return
	}
	if s.denied(w, "get", "pods/proxy", r.PathValue("namespace"), r.PathValue("pod")) {
		return
	}
	for _, p := range slices.Concat(s.pods, s.hubs) {
		if p.name != name {
			continue
		}
		if p.delay < 0 {
			<-r.Context().Done()
			return
		}
		time.Sleep(p.delay)
		if p.agent == nil {
			fail(w, http.StatusServiceUnavailable, "ServiceUnavailable", "error trying to reach service: dial tcp 10.0.0.7:"+port+": connect: connection refused")
			return
		}
		// What the agent sees of the user is the API server.
		r.URL.Path, r.RemoteAddr = "/"+r.PathValue("path"), "10.0.0.1:40000"
		r.Header.Del("Authorization")
		r.Header.Set("X-Forwarded-For", "198.51.100.9")
		p.agent.ServeHTTP(w, r)
		return
	}
	fail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("pods %q not found", name))
}

func (s *apiServer) log(w http.ResponseWriter, r *http.Request) {
	if s.denied(w, "get", "pods/log", r.PathValue("namespace"), r.PathValue("pod")) {
		return
	}
	if c := r.URL.Query().Get("container"); c != "agent" && c != "hub" {
		fail(w, http.StatusBadRequest, "BadRequest", "a container name must be specified for pod "+r.PathValue("pod")+", choose one of: [sidecar agent]")
		return
	}
	fmt.Fprintf(w, "%s of %s, %s lines: 10.0.1.10 is away\n", map[bool]string{false: "now", true: "before"}[r.URL.Query().Get("previous") == "true"],
		r.PathValue("pod"), r.URL.Query().Get("tailLines"))
}

func (s *apiServer) configMap(w http.ResponseWriter, r *http.Request) {
	name, namespace := r.PathValue("name"), r.PathValue("namespace")
	switch {
	case s.denied(w, "get", "configmaps", namespace, name):
	case s.config == nil || namespace != "kube-system":
		fail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("configmaps %q not found", name))
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "ConfigMap", "data": s.config})
	}
}

// nodeConfigs has them in the older version of their API only.
func (s *apiServer) nodeConfigs(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.denied(w, "list", "ciliumnodeconfigs", "kube-system", ""):
	case s.overrides == "" || r.PathValue("version") != "v2alpha1":
		http.NotFound(w, r)
	default:
		fmt.Fprint(w, s.overrides)
	}
}

// kubeconfig writes one with a user's token.
func (s *apiServer) kubeconfig(t testing.TB, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	text := fmt.Sprintf(`
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: dev, user: {token: %q}}]
contexts: [{name: test, context: {cluster: test, user: dev}}]
current-context: test
`, s.URL, ca, token)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// renat runs the plugin and returns its exit code and what it wrote.
func (s *apiServer) renat(t testing.TB, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), &o, &e, append([]string{"--kubeconfig", s.kubeconfig(t, token)}, args...))
	return code, o.String(), e.String()
}

// node is an agent with a status, and the API over its incidents.
func node(name string, change func(*nodestatus.Status), incidents ...*incident.Incident) testPod {
	s := status(name)
	if change != nil {
		change(s)
	}
	b := board.New(board.Config{})
	for i, found := range incidents {
		b.Add(found, uint64(i+1))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s) })
	mux.Handle("/v1/", api.New(api.Config{Board: b}))
	mux.HandleFunc("GET /v1/top", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(top(name)) })
	mux.HandleFunc("GET /v1/at-risk", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(atRisk(name)) })
	return testPod{name: "renat-agent-" + name, node: name, phase: "Running", agent: access("10.0.0.0/24").Wrap(mux)}
}

// atRisk is one connection of a node.
func atRisk(name string) *nodestatus.AtRisk {
	return &nodestatus.AtRisk{Version: nodestatus.Version, Time: time.Now(), Node: name, Connections: []nodestatus.Risk{{
		Protocol: "TCP", Gone: nodestatus.GoneOut, Breaks: nodestatus.SpeaksPod, Since: time.Now().Add(-83 * time.Second), NAT: "198.51.100.1:40000",
		Source:      nodestatus.RiskPeer{Address: "10.0.1.10:40000", Namespace: "shop", Pod: "cart-1"},
		Destination: nodestatus.RiskPeer{Address: "192.0.2.1:443"},
	}}}
}

// access is what an agent has that trusts a network's proxies.
func access(network string) *api.Access {
	a, err := api.NewAccess(api.AccessConfig{UserHeader: "X-Forwarded-For", TrustedProxies: []netip.Prefix{netip.MustParsePrefix(network)}})
	if err != nil {
		panic(err)
	}
	return a
}

func status(name string) *nodestatus.Status {
	entries := uint64(40_000)
	return &nodestatus.Status{
		Version: nodestatus.Version, Time: time.Now(), Node: name, Cluster: "prod", Renat: "v1.0.0", Started: time.Now().Add(-time.Hour),
		Parts:   []nodestatus.Part{{Name: nodestatus.PartKernel, Ready: true}, {Name: nodestatus.PartHubble, Ready: true}},
		Machine: nodestatus.Machine{Kernel: "6.12.0", CPUs: 8, MemoryBytes: 8 << 30},
		Kernel:  nodestatus.Kernel{Backend: "fentry"},
		Hubble:  nodestatus.Hubble{Version: "1.20.2", Connected: true},
		Maps: []nodestatus.Map{
			{Name: "cilium_ct4_global", MaxEntries: 131072, CT: true},
			{
				Name: "cilium_snat_v4_external", MaxEntries: 131072, Entries: &entries, Inserts: 900_000,
				LastMinute: nodestatus.Rates{Inserts: 250}, LastTenMinutes: nodestatus.Rates{Inserts: 250},
			},
		},
		Losses: map[string]uint64{},
	}
}

// breaking makes a status one of a node whose map is full.
func breaking(s *nodestatus.Status) {
	m := &s.Maps[1]
	full := uint64(130_048)
	m.Entries, m.Evictions, m.Forced = &full, 500_000, 1_000
	m.LastMinute = nodestatus.Rates{Inserts: 900, Evictions: 871.5}
	m.LastTenMinutes = nodestatus.Rates{Inserts: 850, Evictions: 840.25, ForcedShare: 0.02}
	m.LongestGap = 4 * time.Minute
	s.Incidents = nodestatus.Incidents{Total: 15, Reset: 12, Unconfirmed: 3, LastTen: 2}
	s.Losses["hubble_ring"] = 7
}

func evicting(s *nodestatus.Status) {
	breaking(s)
	s.Incidents, s.Losses = nodestatus.Incidents{}, nil
}

func top(name string) *nodestatus.Top {
	live := 60_000.0 / 130_048
	return &nodestatus.Top{
		Version: nodestatus.Version, Node: name, Cluster: "prod",
		Maps: []nodestatus.TopMap{{
			Name: "cilium_snat_v4_external", MaxEntries: 131072, Entries: 130_048, Live: &live,
			Sources:             []nodestatus.Holder{{Address: "10.0.1.10", Count: 90_000}, {Address: "10.0.1.11", Count: 100}},
			Destinations:        []nodestatus.Holder{{Address: "192.0.2.1:443", Count: 80_000}},
			EvictedSources:      []nodestatus.Holder{{Address: "10.0.1.12", Count: 400_000}, {Address: "10.0.1.10", Count: 7}},
			EvictedDestinations: []nodestatus.Holder{{Address: "192.0.2.1:443", Count: 300_000}},
		}},
	}
}

// found is the n-th incident of a node.
func found(node string, n int) *incident.Incident {
	at := time.Date(2026, 11, 22, 12, 0, n, 0, time.UTC)
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset, Time: at, Node: node, Cluster: "prod", Protocol: "TCP",
		Source: incident.Endpoint{
			IP: netip.MustParseAddr("10.0.1.10"), Port: uint16(40000 + n), Namespace: "shop", Pod: "cart-1", Workload: "Deployment/cart",
		},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443, Names: []string{"api.example.com"}},
		NAT:         incident.NAT{Map: "cilium_snat_v4_external", Before: "198.51.100.1:40000", After: "198.51.100.1:51111", RemovedAt: at.Add(-time.Minute), RenattedAt: at},
		Evidence:    []incident.Evidence{{Time: at, From: incident.Kernel, What: "OUT entry evicted"}},
		Map:         incident.Map{MaxEntries: 131072, EvictionsPerSecond: 800},
	}
	i.ID = i.NewID(uint64(at.UnixNano()))
	return i
}
