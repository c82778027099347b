// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/notification"
)

// sample returns the n-th incident of a group: one workload each.
func sample(group, n int) *incident.Incident {
	at := time.Now().Truncate(time.Millisecond)
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset,
		Time: at, Node: "node-a", Cluster: "prod", Protocol: "TCP",
		Source: incident.Endpoint{
			IP: netip.MustParseAddr("10.0.0.1"), Port: uint16(n), Namespace: "shop", Pod: "cart-1", Workload: fmt.Sprintf("Deployment/w%d", group),
		},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443},
		NAT:         incident.NAT{Map: "cilium_snat_v4_external", Before: "198.51.100.1:40000", After: "198.51.100.1:51111", RenattedAt: at},
		Evidence:    []incident.Evidence{{Time: at, From: incident.Kernel, What: "evict OUT"}},
		Map:         incident.Map{MaxEntries: 512, EvictionsPerSecond: 10},
	}
	i.ID = i.NewID(uint64(group)<<32 | uint64(n))
	return i
}

func startNATS(t testing.TB, o *natsserver.Options) *natsserver.Server {
	t.Helper()
	o.JetStream, o.NoSigs, o.NoLog, o.StoreDir = true, true, true, t.TempDir()
	o.Host = "127.0.0.1"
	if o.Port == 0 {
		o.Port = natsserver.RANDOM_PORT
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	return s
}

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := jetstream.Connect(context.Background(), jetstream.Config{URL: url, Wait: 10 * time.Second, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// jetStream is the way to what NATS stores that is not renat's own.
func jetStream(t testing.TB, nc *nats.Conn) natsjs.JetStream {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// publish stores incidents and returns their ids.
func publish(t testing.TB, nc *nats.Conn, all ...*incident.Incident) (ids []string) {
	t.Helper()
	p, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{MaxPending: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, i := range all {
		if err := p.Publish(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, i.ID)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ids
}

// receiver is a webhook that remembers what it took.
type receiver struct {
	*httptest.Server
	mu sync.Mutex
	// taken are the notifications by id, in order; bodies and times of each.
	taken []notification.Notification
	times map[string]int
	body  map[string]string
	// answer says what to answer; nil: 200.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{times: map[string]int{}, body: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	if answer != nil && !answer(w, req) {
		return
	}
	var m struct{ Data notification.Notification }
	if err := json.Unmarshal(body, &m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id := req.Header.Get("Webhook-Id")
	if r.times[id]++; r.times[id] == 1 {
		r.taken = append(r.taken, m.Data)
		r.body[id] = string(body)
	} else if r.body[id] != string(body) {
		r.times["changed "+id]++
	}
}

// refusing answers always with a status.
func refusing(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		return false
	}
}

// awayUntil takes nothing until it is told to be well.
func awayUntil(well *atomic.Bool) func(http.ResponseWriter, *http.Request) bool {
	away := refusing(http.StatusServiceUnavailable)
	return func(w http.ResponseWriter, r *http.Request) bool { return well.Load() || away(w, r) }
}

func (r *receiver) notifications() []notification.Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]notification.Notification{}, r.taken...)
}

// count is how many incidents the notifications told of, each counted once.
func (r *receiver) count() (n int) {
	for _, t := range r.notifications() {
		n += t.Count
	}
	return n
}

// yaml is a receiver's configuration for fast tests; more are lines of it.
func (r *receiver) yaml(name string, more ...string) string {
	lines := append([]string{"name: " + name, "webhook: {url: '" + r.URL + "'}"}, more...)
	text := strings.Join(lines, "\n    ") + "\n"
	for _, d := range []string{"group_wait: 50ms", "group_interval: 200ms", "rate: {per_second: 1000, burst: 1000}"} {
		if key, _, _ := strings.Cut(d, ":"); !strings.Contains(text, key) {
			text += "    " + d + "\n"
		}
	}
	return "  - " + text
}

// start runs a hub until the test ends or stop is called.
func start(t testing.TB, nc *nats.Conn, name string, receivers ...string) (h *hub.Hub, stop func()) {
	t.Helper()
	return runHub(t, hub.Config{NATS: nc, Holder: name, Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel)}, receivers...)
}

// runHub is start for a hub that is configured in more than these receivers, or
// loads others.
func runHub(t testing.TB, c hub.Config, receivers ...string) (h *hub.Hub, stop func()) {
	t.Helper()
	if c.Load == nil {
		text := "receivers:\n" + strings.Join(receivers, "")
		c.Load = func() (*config.Config, error) { return config.Parse([]byte(text)) }
	}
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the hub does not end")
		}
	})
	t.Cleanup(stop)
	return h, stop
}

func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// complete waits until there are want, for as long as there are more and more: a
// busy machine takes its time for each.
func complete(t testing.TB, want int, what string, count func() int) {
	t.Helper()
	for so := count(); so < want; {
		eventually(t, starved, fmt.Sprintf("more than %d of %d %s", so, want, what), func() bool {
			before := so
			so = count()
			return so > before
		})
	}
}

// unacknowledged is how many messages the receiver's consumer has not seen
// acknowledged, or not delivered yet.
func unacknowledged(t testing.TB, nc *nats.Conn, receiver string) int {
	t.Helper()
	c, err := jetStream(t, nc).Consumer(t.Context(), jetstream.Stream, "renat-hub-"+receiver)
	if errors.Is(err, natsjs.ErrConsumerNotFound) || errors.Is(err, natsjs.ErrStreamNotFound) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo().NumAckPending + int(c.CachedInfo().NumPending)
}

// dead is how many letters are in the stream of the dead.
func dead(t testing.TB, nc *nats.Conn) int {
	t.Helper()
	s, err := jetStream(t, nc).Stream(t.Context(), jetstream.DeadStream)
	if err != nil {
		return 0
	}
	return int(s.CachedInfo().State.Msgs)
}
