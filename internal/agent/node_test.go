// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// fakeKernel hands on what a test gives it.
type fakeKernel struct {
	changes chan correlator.Event
	entries sync.Map // correlator.Tuple to correlator.Addr
	empty   atomic.Uint64
	updates atomic.Uint64
	slow    atomic.Bool // a map's keys are never read to their end
	stuck   atomic.Bool // nobody reads what the kernel sends
}

func newFakeKernel() *fakeKernel { return &fakeKernel{changes: make(chan correlator.Event, 1<<16)} }

func (k *fakeKernel) give(changes ...correlator.Event) {
	for _, c := range changes {
		k.changes <- c
	}
}

func (k *fakeKernel) Run(ctx context.Context, emit func(correlator.Event)) error {
	for {
		select {
		case c := <-k.changes:
			if c.NAT.Op == correlator.Insert {
				k.entries.Store(c.Tuple, c.NAT.To)
			} else {
				k.entries.Delete(c.Tuple)
			}
			emit(c)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *fakeKernel) Remembers() time.Duration { return kprobes.FilterWindow }

func (k *fakeKernel) CaughtUp() uint64 {
	now, _ := kprobes.Now()
	if len(k.changes) > 0 || k.stuck.Load() {
		return k.empty.Load()
	}
	k.empty.Store(now)
	return now
}

func (k *fakeKernel) Status() kprobes.Status {
	return kprobes.Status{State: kprobes.Watching, Backend: kprobes.Fentry, Maps: []*correlator.Map{natMap}}
}

func (k *fakeKernel) Stats() (kprobes.Stats, error) {
	return kprobes.Stats{Missing: 3, Unsurveyed: 5, Maps: []kprobes.MapStats{
		{Map: natMap, Counters: kprobes.Counters{Evictions: 3, Forced: 1}},
		{Map: ctMap, Counters: kprobes.Counters{EvictedAlive: 2}},
	}}, nil
}

func (k *fakeKernel) Lookup(t correlator.Tuple, _ correlator.Dir) (correlator.Addr, bool, error) {
	to, found := k.entries.Load(t)
	if !found {
		return correlator.Addr{}, false, nil
	}
	return to.(correlator.Addr), true, nil
}

func (k *fakeKernel) Occupancy() ([]kprobes.Occupancy, error) {
	return []kprobes.Occupancy{{Map: natMap, Entries: 400}}, nil
}

// Keys gives two connections of each of two pods, and one host's; all but the
// second pod's are open.
func (k *fakeKernel) Keys(ctx context.Context, _ uint32, each func(correlator.Tuple, correlator.Dir)) error {
	if k.slow.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	for _, t := range natTuples() {
		each(t, correlator.Out)
		each(t.Reverse(), correlator.In)
	}
	return nil
}

// Tracked gives the open ones.
func (k *fakeKernel) Tracked(_ context.Context, _ uint32, each func(correlator.Tuple)) error {
	for _, t := range natTuples() {
		if open, _ := k.Open(t); open {
			each(t)
		}
	}
	return nil
}

func (k *fakeKernel) Open(t correlator.Tuple) (bool, error) {
	return t.Src.IP != natTuples()[2].Src.IP, nil
}

// Touch finds the connections alive whose OUT entries are there.
func (k *fakeKernel) Touch(all []kprobes.Touched, _ bool) error {
	for i := range all {
		all[i].Condition = kprobes.OutGone
		if _, found := k.entries.Load(all[i].Tuple); found {
			all[i].Condition = kprobes.Kept
		}
	}
	return nil
}

// Updates are always many since the last time.
func (k *fakeKernel) Updates() ([]kprobes.Updates, error) {
	return []kprobes.Updates{{Map: natMap, ByCPU: []uint64{k.updates.Add(1 << 20)}}}, nil
}

// node is an agent with all that surrounds it.
type node struct {
	t testing.TB
	traffic
	config agent.Config
	http   string
	stop   func() error
}

// startNode starts an agent beside a fake Hubble and a fake kernel.
func startNode(t testing.TB, change func(*agent.Config)) *node {
	t.Helper()
	h, k := newHubble(t, 1<<16), newFakeKernel()
	n := &node{t: t, traffic: traffic{t: t, hubble: h, changes: k.give}, config: agent.Config{
		Node: "node-a", Cluster: "test", Version: "v0.0.0-test", Kernel: k,
		Hubble:   hubble.Config{Address: h.Addr(), PollInterval: 20 * time.Millisecond, StatusInterval: 200 * time.Millisecond, MaxBackoff: 200 * time.Millisecond},
		StateDir: t.TempDir(), NATSListen: "127.0.0.1:0", Listener: listen(t, "127.0.0.1:0"), Settle: time.Second,
		Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel),
	}}
	addresses := make(chan agent.Addresses, 1)
	n.config.Started = func(a agent.Addresses) { addresses <- a }
	if change != nil {
		change(&n.config)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx, n.config) }()
	n.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Errorf("the agent ended: %v", err)
		}
	})
	select {
	case a := <-addresses:
		n.http = "http://" + a.HTTP
		if n.config.NATS.URL == "" {
			n.config.NATS.URL = a.NATS
		}
	case err := <-ended:
		ended <- nil
		t.Fatalf("the agent did not start: %v", err)
	}
	// Two events make a ring that can be followed.
	n.other(t.Context())
	n.other(t.Context())
	return n
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (n *node) status() *nodestatus.Status {
	n.t.Helper()
	var s nodestatus.Status
	if err := json.Unmarshal([]byte(n.get("/v1/status")), &s); err != nil {
		n.t.Fatal(err)
	}
	return &s
}

// answers reports whether the agent has started, and serves HTTP.
func (n *node) answers() bool {
	r, err := http.Get(n.http + "/v1/status")
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK
}

func (n *node) get(path string) string {
	n.t.Helper()
	r, err := http.Get(n.http + path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(body)
}

func (n *node) awaitReady() {
	n.t.Helper()
	eventually(n.t, "the agent is ready", func() bool { return n.status().Ready() })
}

// breakAll opens and severs the connections from first to before last.
func (n *node) breakAll(ctx context.Context, first, last int) {
	for c := first; c < last; c++ {
		n.open(ctx, c)
	}
	time.Sleep(50 * time.Millisecond) // more than the agent reorders
	for c := first; c < last; c++ {
		n.sever(ctx, c)
	}
	n.other(ctx)
}

// stored returns how often each connection is in a NATS, by its pod's side.
func stored(t testing.TB, url string) map[netip.AddrPort][]*incident.Incident {
	t.Helper()
	got := map[netip.AddrPort][]*incident.Incident{}
	err := jetstream.Read(t.Context(), connect(t, url), jetstream.ReadOptions{}, func(s jetstream.Stored) error {
		pod := s.Incident.Source.AddrPort()
		got[pod] = append(got[pod], s.Incident)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wantOnce wants each connection from 0 to before n named once, with its RST.
func wantOnce(t testing.TB, url string, n int) {
	t.Helper()
	got := stored(t, url)
	for c := range n {
		pod := connectionOf(c).pod
		if i := got[pod]; len(i) != 1 || i[0].Outcome != incident.Reset || i[0].Cause != incident.LRUEviction || i[0].Source.Pod != "cart-1" {
			t.Errorf("connection %d (%s): %+v", c, pod, i)
		}
		delete(got, pod)
	}
	if len(got) > 0 {
		t.Errorf("named without being broken: %v", got)
	}
}

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := jetstream.Connect(t.Context(), jetstream.Config{URL: url, Wait: patience, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", patience, what)
		}
	}
}

// awaitForwarded waits as long as more and more are in NATS: a busy machine's
// disk takes its time for each.
func (n *node) awaitForwarded(want uint64) {
	n.t.Helper()
	for so := uint64(0); so < want; {
		eventually(n.t, "more are in NATS", func() bool {
			before := so
			so = n.status().Outbox.Forwarded
			return so > before
		})
	}
}

// awaitEmpty waits as long as less and less is left to be forwarded.
func (n *node) awaitEmpty() {
	n.t.Helper()
	for left := uint64(math.MaxUint64); left > 0; {
		eventually(n.t, "less is left to be forwarded", func() bool {
			before, o := left, n.status().Outbox
			left = o.Waiting + uint64(o.Queued) //nolint:gosec // a count
			return left < before || left == 0
		})
	}
}

func TestAgentNamesBrokenConnections(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.awaitReady()
	n.breakAll(t.Context(), 0, 20)
	n.awaitForwarded(20)
	wantOnce(t, n.config.NATS.URL, 20)

	n.awaitReady()
	s := n.status()
	if s.Version != nodestatus.Version || s.Node != "node-a" || s.Incidents.Reset != 20 || s.Incidents.LastTen != 20 || s.State() != nodestatus.Breaking ||
		len(s.Maps) != 2 || *s.Maps[0].Entries != 400 || s.Maps[0].LongestGap <= 0 || len(s.Losses) != 0 {
		t.Errorf("status %+v", s)
	}
	if ready := n.get("/readyz"); ready != "kernel: ready\nhubble: ready\ntracking: ready\noutbox: ready\nnats: ready\n" {
		t.Errorf("readyz says %q", ready)
	}
	metrics := n.get("/metrics")
	for _, want := range []string{
		`renat_incidents_total{cause="lru_eviction",kind="renat",outcome="reset"} 20`,
		`renat_map_evictions_total{map="cilium_snat_v4_external"} 3`, `renat_map_entries{map="cilium_snat_v4_external"} 400`,
		`renat_losses_total{place="kernel_ring"} 0`, `renat_outbox_forwarded_total 20`, `renat_part_ready{part="nats"} 1`,
		`renat_survey_missing_connections_total 3`, `renat_survey_left_out_connections_total 5`, `renat_build_info{goversion="`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	var list struct{ Incidents []json.RawMessage }
	if err := json.Unmarshal([]byte(n.get("/v1/incidents?pod=shop/cart&limit=7")), &list); err != nil || len(list.Incidents) != 7 {
		t.Errorf("/v1/incidents: %d, %v", len(list.Incidents), err)
	}
	nodes, err := jetstream.OpenNodes(t.Context(), connect(t, n.config.NATS.URL), 1)
	if err != nil {
		t.Fatal(err)
	}
	all, err := nodes.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Node != "node-a" {
		t.Errorf("nodes in NATS: %v, %v", all, err)
	}
}

// Two clusters of one name: each of two nodes with the same name says that its
// status is not its own.
func TestAgentsOfOneName(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.awaitReady()
	other, err := jetstream.OpenNodes(t.Context(), connect(t, n.config.NATS.URL), 1)
	if err != nil {
		t.Fatal(err)
	}
	told := "another agent tells NATS of a node node-a in a cluster"
	for end := time.Now().Add(2 * patience); !strings.Contains(n.get("/readyz"), told); time.Sleep(time.Second) {
		if time.Now().After(end) {
			t.Fatalf("readyz says %q", n.get("/readyz"))
		}
		_ = other.Put(t.Context(), n.config.Cluster, "node-a", nodestatus.Status{}) // from the second on, that it is not alone
	}
	if s := n.status(); s.State() != nodestatus.Degraded {
		t.Errorf("the node is %s", s.State())
	}
}
