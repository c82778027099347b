// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/notification"
)

// The variables by which the test starts itself as a hub.
const (
	childURL    = "RENAT_TEST_HUB_NATS"
	childConfig = "RENAT_TEST_HUB_CONFIG"
	childLease  = "RENAT_TEST_HUB_LEASE"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		child(url, os.Getenv(childConfig))
		return
	}
	if node := os.Getenv(childServer); node != "" {
		serve(node)
		return
	}
	os.Exit(m.Run())
}

// child is a hub that runs until it is killed. It tells stdout when it gets
// the lease.
func child(url, path string) {
	nc, err := jetstream.Connect(context.Background(), jetstream.Config{URL: url, Wait: time.Minute, Log: zerolog.Nop()})
	if err != nil {
		panic(err)
	}
	lease, err := time.ParseDuration(os.Getenv(childLease))
	if err != nil {
		panic(err)
	}
	h, err := hub.New(hub.Config{
		NATS: nc, Holder: fmt.Sprint(os.Getpid()), Lease: lease, Log: zerolog.New(os.Stderr).Level(zerolog.FatalLevel),
		Load: func() (*config.Config, error) { return config.Options{}.Load(path) },
	})
	if err != nil {
		panic(err)
	}
	if err := h.Run(context.Background()); err != nil {
		panic(err)
	}
}

// leader returns the process that has the lease, 0: none.
func leader(t *testing.T, nc *nats.Conn) (pid int) {
	js := jetStream(t, nc)
	kv, err := js.KeyValue(t.Context(), "RENAT_HUB_LEASE")
	if err != nil {
		return 0
	}
	e, err := kv.Get(t.Context(), "active")
	if err != nil {
		return 0
	}
	_, _ = fmt.Sscan(string(e.Value()), &pid) // 0 then
	return pid
}

// flapping answers badly in many ways until it is told to be well.
func flapping(well *atomic.Bool, statuses ...int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if well.Load() || rand.IntN(2) == 0 {
			return true
		}
		switch status := statuses[rand.IntN(len(statuses))]; status {
		case 0: // hang
			select {
			case <-r.Context().Done():
			case <-time.After(3 * time.Second):
			}
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(status)
		default:
			w.WriteHeader(status)
		}
		return false
	}
}

// encounter is a request that its receiver holds until it is released.
type encounter struct {
	context.Context // ends when who sent it does
	taken           chan<- bool
}

// meeting has the receiver hold a request whenever somebody waits for one.
func meeting(r *receiver) <-chan encounter {
	met := make(chan encounter)
	r.answer = func(_ http.ResponseWriter, req *http.Request) bool {
		taken := make(chan bool, 1)
		select {
		case met <- encounter{req.Context(), taken}:
			return <-taken
		default:
			return true
		}
	}
	return met
}

// ended reports whether who sent the request is gone.
func (e *encounter) ended() bool {
	select {
	case <-e.Done():
		return true
	case <-time.After(time.Second):
		return false
	}
}

// release has the receiver take the request, or forget it. There may be none.
func (e *encounter) release(taken bool) {
	if e != nil {
		e.taken <- taken
	}
}

// starved is how long a test waits for something that comes, where it starts
// processes on a machine that has no time for them.
const starved = 5 * time.Minute

// faults is how many TestChaos brings about.
var faults = flag.Int("chaos", 16, "how many faults TestChaos brings about, half of them kills")

// The active hub is killed, mostly as a receiver holds its request, suspended, or
// cut off from NATS, as incidents keep coming and receivers fail in every way.
func TestChaos(t *testing.T) {
	const groups = 7
	t.Parallel()
	url := startNATS(t, &natsserver.Options{}).ClientURL()
	nc := connect(t, url)
	var well atomic.Bool
	healthy, some, flaps, gone := newReceiver(t), newReceiver(t), newReceiver(t), newReceiver(t)
	requests := meeting(healthy)
	flaps.answer = flapping(&well, 0, 500, 503, 429)
	gone.answer = flapping(&well, 410)
	secret := httptest.NewUnstartedServer(http.NotFoundHandler()) // of an authority nobody knows
	secret.Config.ErrorLog = log.New(io.Discard, "", 0)
	secret.StartTLS()
	t.Cleanup(secret.Close)
	patient := []string{"group_wait: 100ms", "group_interval: 300ms", "max_listed: 100"}
	fast := append(slices.Clip(patient), "timeout: 500ms")
	path := filepath.Join(t.TempDir(), "hub.yaml")
	text := "receivers:\n" + healthy.yaml("healthy", patient...) + some.yaml("some", append(fast, `match: ['workload=~".*w[0-3]"']`)...) +
		flaps.yaml("flaps", fast...) + gone.yaml("gone", fast...) +
		fmt.Sprintf("  - {name: tls, webhook: {url: %q}}\n  - {name: dns, webhook: {url: 'http://nowhere.invalid/'}}\n", secret.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	hubs := newProcesses(t, url, path, "1s")
	hubs.spawn(t)
	hubs.spawn(t)
	load, stopLoad := context.WithCancel(t.Context())
	published := make(chan []int, 1)
	go func() { published <- trickle(load, t, nc, groups, healthy.count) }()
	var slowest time.Duration
	last, kills, met := 0, 0, 0
	for n := range *faults {
		began := time.Now()
		pid := 0
		eventually(t, starved, fmt.Sprintf("a hub to take over after %d faults", n), func() bool {
			pid = leader(t, nc)
			return pid != 0 && pid != last
		})
		slowest = max(slowest, time.Since(began))
		var held *encounter
		if n%16 > 0 { // else it has hardly begun
			select {
			case e := <-requests:
				held = &e
			case <-time.After(starved):
				t.Fatalf("waited in vain for the next delivery after %d faults", n)
			}
		}
		if n%4 > 1 || rand.IntN(4) == 0 {
			held.release(true)
			held = nil
		}
		if held == nil {
			time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		}
		long := time.Duration(1200+rand.IntN(1800)) * time.Millisecond // longer than the lease
		last = 0
		switch n % 4 {
		case 2:
			hubs.pause(t, pid, long)
		case 3:
			hubs.wires[pid].interrupt(long)
		default:
			hubs.kill(t, pid)
			last = pid
			kills++
			if held != nil && held.ended() {
				met++
				held.release(rand.IntN(2) == 0)
			} else {
				held.release(true) // to one that was suspended before
			}
			hubs.spawn(t)
		}
	}
	stopLoad()
	well.Store(true)
	counts := <-published
	total, totalSome := 0, 0
	for g, n := range counts {
		total += n
		if g <= 3 {
			totalSome += n
		}
	}
	t.Logf("%d incidents, %d faults, of them %d kills, %d with a request of the hub's being held; slowest takeover of a lease of one second %s",
		total, *faults, kills, met, slowest.Round(time.Millisecond))
	defer func() {
		t.Logf("healthy %d/%d, some %d/%d, flaps %d/%d, gone %d/%d", healthy.count(), total, some.count(), totalSome, flaps.count(), total, lettersOf(t, nc, gone), total)
	}()
	complete(t, 3*total+totalSome, "incidents to be delivered", func() int {
		return min(healthy.count(), total) + min(some.count(), totalSome) + min(flaps.count(), total) + min(lettersOf(t, nc, gone), total)
	})
	eventually(t, starved, "everything to be acknowledged", func() bool {
		return unacknowledged(t, nc, "healthy") == 0 && unacknowledged(t, nc, "some") == 0 && unacknowledged(t, nc, "flaps") == 0
	})
	healthy.check(t, "healthy", counts)
	some.check(t, "some", counts[:4])
	flaps.check(t, "flaps", counts)
	if n := lettersOf(t, nc, gone); n != total {
		t.Errorf("gone: %d received or put aside, want %d", n, total)
	}
}

// ahead is by how many incidents a test may be ahead of its hub: a busy machine
// needs its time for what waits, and each hub is sent all of it.
const ahead = 500

// trickle publishes incidents of each group in order until ctx ends, not too far
// ahead of what is told, and returns how many of each.
func trickle(ctx context.Context, t *testing.T, nc *nats.Conn, groups int, told func() int) []int {
	p, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{})
	if err != nil {
		t.Error(err)
		return nil
	}
	defer p.Close()
	counts := make([]int, groups)
	for n := 0; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if n%ahead == 0 && n-told() > ahead {
			continue
		}
		if _, err := p.Send(context.WithoutCancel(ctx), sample(n%groups, counts[n%groups])); err != nil {
			t.Error(err)
		}
		counts[n%groups]++
		n++
	}
	return counts
}

// check verifies that each incident was told of in one notification, and that
// what came twice came with the same id and body. What a hub had been sent and
// could not take comes after later ones to the next.
func (r *receiver) check(t *testing.T, name string, counts []int) {
	t.Helper()
	total, told := map[string]int{}, map[string]string{}
	twice := 0
	for _, n := range r.notifications() {
		w := n.Group.Labels["workload"]
		if r.times[n.ID] > 1 {
			twice++
		}
		if r.times["changed "+n.ID] > 0 {
			t.Errorf("%s: notification %s came again with another body", name, n.ID)
		}
		if total[w] += n.Count; n.Group.Total != total[w] {
			r.list(t, w)
			t.Fatalf("%s: %s: total %d, want %d", name, w, n.Group.Total, total[w])
		}
		for _, i := range n.Incidents {
			if before := told[i.ID]; before != "" {
				t.Errorf("%s: incident %s of %s in notification %s, and in %s before", name, i.ID, w, n.ID, before)
			}
			told[i.ID] = n.ID
		}
	}
	for g, want := range counts {
		if got := total[fmt.Sprintf("shop/Deployment/w%d", g)]; got != want {
			t.Errorf("%s: %d of %d incidents of group %d", name, got, want, g)
		}
	}
	t.Logf("%s: %d notifications, %d of them more than once", name, len(r.notifications()), twice)
}

// list logs what was told of a workload.
func (r *receiver) list(t *testing.T, workload string) {
	for _, n := range r.notifications() {
		if n.Group.Labels["workload"] == workload {
			t.Logf("%s %s %s: %d of %d, sequences %d to %d", n.At.Format("05.000"), n.ID[:6], n.Reason, n.Count, n.Group.Total, n.Fetch.First, n.Fetch.Last)
		}
	}
}

// lettersOf counts the incidents of gone that arrived or were put aside.
func lettersOf(t *testing.T, nc *nats.Conn, gone *receiver) int {
	all := map[string]int{}
	for _, n := range gone.notifications() {
		all[n.ID] = n.Count
	}
	d, err := jetstream.OpenDeadLetters(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Each(t.Context(), func(l jetstream.Letter) error {
		var letter struct{ Notification notification.Notification }
		if err := json.Unmarshal(l.Body, &letter); err != nil {
			return err
		}
		if n := letter.Notification; n.Receiver == "gone" {
			all[n.ID] = n.Count
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, n := range all {
		sum += n
	}
	return sum
}
