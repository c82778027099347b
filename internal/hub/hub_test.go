// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/internal/metrics"
	"github.com/renat-project/renat/internal/metrics/metricstest"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/notification"
)

func TestStormIsOneMessage(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	r := newReceiver(t)
	start(t, nc, "a", r.yaml("ops", "group_wait: 500ms"))
	var all []*incident.Incident
	for n := range 90 {
		all = append(all, sample(n%3, n))
	}
	publish(t, nc, all...)
	eventually(t, 10*time.Second, "the notifications", func() bool { return r.count() == 90 })
	for _, n := range r.notifications() {
		if n.Reason != notification.New || n.Count != 30 || n.Group.Total != 30 || len(n.Incidents) != 20 || n.More != 10 {
			t.Errorf("%s: %d of %d, %d listed, %d more", n.Reason, n.Count, n.Group.Total, len(n.Incidents), n.More)
		}
		if !strings.Contains(n.Text, "30 connections of shop/Deployment/w") {
			t.Errorf("it says %q", n.Text)
		}
	}
	eventually(t, 5*time.Second, "the acknowledgements", func() bool { return unacknowledged(t, nc, "ops") == 0 })
	publish(t, nc, sample(1, 1000))
	eventually(t, 5*time.Second, "the update", func() bool { return r.count() == 91 })
	if n := r.notifications()[3]; n.Reason != notification.Update || n.Group.Total != 31 || n.Count != 1 {
		t.Errorf("the update: %s, %d of %d", n.Reason, n.Count, n.Group.Total)
	}
}

// A receiver that fails does not keep another one waiting; what it refuses for
// good, and what it does not take in time, is put aside and can be sent again.
func TestDeadLettersAndRedeliver(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	good, refuses, fails := newReceiver(t), newReceiver(t), newReceiver(t)
	refuses.answer = refusing(http.StatusBadRequest)
	fails.answer = refusing(http.StatusBadGateway)
	text := []string{good.yaml("good"), refuses.yaml("refuses"), fails.yaml("fails", "give_up_after: 1s", `match: ["workload=shop/Deployment/w1"]`)}
	h, _ := start(t, nc, "a", text...)
	publish(t, nc, sample(1, 1), sample(2, 2))
	js := jetStream(t, nc)
	for n, garbled := range []string{"{", `{"specversion":"1.0","id":"x","type":"dev.renat.incident.v2","data":{}}`, strings.Repeat("x", 1<<20-100)} {
		if _, err := js.Publish(t.Context(), fmt.Sprintf("%s.renat.x.y%d", incident.SubjectPrefix, n), []byte(garbled)); err != nil {
			t.Fatal(err)
		}
	}
	large := sample(3, 3) // as large as NATS lets it be, and hostile
	large.Source.Labels = []string{strings.Repeat("<!channel>{{.}}\r\n", 34_000)}
	publish(t, nc, large)
	eventually(t, 15*time.Second, "all to be settled", func() bool {
		return good.count() == 3 && dead(t, nc) == 7 &&
			unacknowledged(t, nc, "good") == 0 && unacknowledged(t, nc, "refuses") == 0 && unacknowledged(t, nc, "fails") == 0
	})
	var s nodestatus.Hub
	if err := json.Unmarshal([]byte(get(t, h, "/status")), &s); err != nil || s.NATS.DeadLetters != 7 || len(s.Receivers) != 3 {
		t.Fatalf("%v: %+v", err, s)
	}
	for _, r := range s.Receivers {
		if r.Failing != (r.Name != "good") {
			t.Errorf("%+v", r)
		}
	}
	refuses.mu.Lock()
	refuses.answer = nil
	refuses.mu.Unlock()
	c, err := config.Parse([]byte("receivers:\n" + strings.Join(text, "")))
	if err != nil {
		t.Fatal(err)
	}
	var sent, failed int
	err = hub.Redeliver(t.Context(), nc, c, "", func(r hub.Redelivered) {
		if r.Err != nil {
			failed++
			t.Log(r.Sequence, r.Err)
		} else {
			sent++
		}
	})
	if err != nil || sent != 3 || failed != 4 || refuses.count() != 3 || dead(t, nc) != 4 {
		t.Errorf("Redeliver = %v; %d sent, %d failed, %d received, %d left", err, sent, failed, refuses.count(), dead(t, nc))
	}
}

// Two hubs: the second goes on where the first one stopped.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	r := newReceiver(t)
	text := r.yaml("ops", "group_wait: 2s", "group_interval: 2s")
	first, stop := start(t, nc, "first", text)
	eventually(t, 5*time.Second, "the first to be ready", func() bool { return get(t, first, "/v1/groups") != "" && unacknowledged(t, nc, "ops") >= 0 })
	publish(t, nc, sample(1, 1), sample(2, 2))
	eventually(t, 5*time.Second, "the incidents to be held", func() bool { return strings.Count(get(t, first, "/v1/groups"), `"waiting":1`) == 2 })
	start(t, nc, "second", text)
	stop()
	if n := r.count(); n != 0 {
		t.Fatalf("%d were notified too early", n)
	}
	began := time.Now()
	publish(t, nc, sample(1, 3))
	eventually(t, 10*time.Second, "the second to notify", func() bool { return r.count() == 3 })
	t.Logf("taken over and notified in %s, of which 2 s are group_wait", time.Since(began))
	time.Sleep(200 * time.Millisecond)
	if n := len(r.notifications()); n != 2 {
		t.Errorf("%d notifications", n)
	}
}

func get(t testing.TB, h *hub.Hub, path string) string {
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
	r.RemoteAddr = "127.0.0.1:5000"
	h.Handler().ServeHTTP(w, r)
	return w.Body.String()
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	r := newReceiver(t)
	h, stop := start(t, nc, "a", r.yaml("ops"))
	publish(t, nc, sample(1, 1))
	eventually(t, 10*time.Second, "the notification", func() bool { return r.count() == 1 })
	eventually(t, 5*time.Second, "the hub to be ready", func() bool { return get(t, h, "/readyz") == "ok\n" })
	if got := get(t, h, "/healthz"); got != "ok\n" {
		t.Errorf("/healthz: %q", got)
	}
	for _, want := range []string{"renat_hub_active 1", `renat_hub_notifications_total{receiver="ops",result="delivered"} 1`, `renat_hub_incidents_total{fate="held",receiver="ops"} 1`} {
		eventually(t, 5*time.Second, want, func() bool { return strings.Contains(get(t, h, "/metrics"), want) })
	}
	if err := metricstest.Compare(get(t, h, "/metrics"), metrics.Hub); err != nil {
		t.Error(err)
	}
	eventually(t, 5*time.Second, "the group", func() bool { return strings.Contains(get(t, h, "/v1/groups"), `"notifications":1`) })
	var groups struct {
		Active    bool
		Receivers []hub.Lane
	}
	if err := json.Unmarshal([]byte(get(t, h, "/v1/groups")), &groups); err != nil {
		t.Fatal(err)
	}
	if !groups.Active || len(groups.Receivers) != 1 || len(groups.Receivers[0].Groups) != 1 || groups.Receivers[0].Groups[0].Total != 1 {
		t.Errorf("/v1/groups: %+v", groups)
	}
	var s nodestatus.Hub
	if err := json.Unmarshal([]byte(get(t, h, "/status")), &s); err != nil {
		t.Fatal(err)
	}
	if !s.Ready || !s.Active || !s.Notifies || s.Leader != "a" || len(s.Receivers) != 1 || s.Receivers[0].Circuit != "closed" || s.Receivers[0].Failing ||
		time.Since(s.Receivers[0].Delivered) > time.Minute || s.Receivers[0].Backlog != 0 {
		t.Errorf("/status: %+v", s)
	}
	if n := s.NATS; !n.Connected || n.Problem != "" || n.Server == "" || len(n.Stores) != 5 || n.Stores[0].Name != jetstream.Stream || n.Stores[0].Messages != 1 || n.Stores[0].Replicas != 1 {
		t.Errorf("/status tells of NATS: %+v", n)
	}
	stop()
	nc.Close()
	if got := get(t, h, "/readyz"); got == "ok\n" {
		t.Error("ready without NATS")
	}
	if got := get(t, h, "/status"); !strings.Contains(got, `"ready":false,"problem":"not connected to NATS"`) || !strings.Contains(got, `"connected":false`) {
		t.Errorf("/status without NATS: %s", got)
	}
}

// The stream is removed and made anew: its sequences begin again.
func TestNewStream(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	r := newReceiver(t)
	start(t, nc, "a", r.yaml("ops"))
	publish(t, nc, sample(1, 1))
	eventually(t, 10*time.Second, "the first notification", func() bool { return r.count() == 1 })
	js := jetStream(t, nc)
	if err := js.DeleteStream(t.Context(), jetstream.Stream); err != nil {
		t.Fatal(err)
	}
	publish(t, nc, sample(1, 2))
	eventually(t, 15*time.Second, "the second notification", func() bool { return r.count() == 2 })
}

func TestReload(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	a, b := newReceiver(t), newReceiver(t)
	var text atomic.Value
	text.Store("receivers:\n" + a.yaml("a"))
	reload := make(chan struct{})
	h, stop := runHub(t, hub.Config{
		NATS: nc, Holder: "x", Reload: reload,
		Load: func() (*config.Config, error) { return config.Parse([]byte(text.Load().(string))) },
	})
	publish(t, nc, sample(1, 1))
	eventually(t, 10*time.Second, "a's notification", func() bool { return a.count() == 1 })

	text.Store("receivers:\n  - name: wrong\n    nonsense: 1\n")
	reload <- struct{}{}
	eventually(t, 5*time.Second, "the reload to fail", func() bool {
		return strings.Contains(get(t, h, "/metrics"), "renat_hub_config_last_reload_successful 0")
	})
	publish(t, nc, sample(1, 2))
	eventually(t, 5*time.Second, "a to go on", func() bool { return a.count() == 2 })

	text.Store("receivers:\n" + a.yaml("a") + b.yaml("b", `match: ['workload=~".*w2"']`))
	reload <- struct{}{}
	eventually(t, 5*time.Second, "b to be there", func() bool { return unacknowledged(t, nc, "b") == 0 })
	publish(t, nc, sample(1, 3), sample(2, 4))
	eventually(t, 5*time.Second, "both to be notified", func() bool { return a.count() == 4 && b.count() == 1 })

	text.Store("receivers:\n" + b.yaml("b", `match: ['workload=~".*w2"']`))
	reload <- struct{}{}
	eventually(t, 5*time.Second, "a to end", func() bool { return !strings.Contains(get(t, h, "/v1/groups"), `"receiver":"a"`) })
	publish(t, nc, sample(2, 5))
	eventually(t, 5*time.Second, "b to be notified", func() bool { return b.count() == 2 })
	if a.count() != 4 {
		t.Errorf("a was notified after it was removed")
	}
	stop()
	reasons := []notification.Reason{}
	for _, n := range a.notifications() {
		if n.Group.Labels["workload"] == "shop/Deployment/w1" {
			reasons = append(reasons, n.Reason)
		}
	}
	if !slices.Equal(reasons, []notification.Reason{notification.New, notification.Update, notification.Update}) {
		t.Errorf("a's lane did not go on over the reloads: %v", reasons)
	}
}

// Of two Alertmanagers one is dead: it is counted and logged, once.
func TestServerThatTakesNothing(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	alive := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer alive.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	receiver := fmt.Sprintf("  - name: am\n    group_wait: 50ms\n    group_interval: 50ms\n    alertmanager: {urls: [%q, %q]}\n", alive.URL, gone.URL)
	var log logged
	h, _ := runHub(t, hub.Config{NATS: nc, Holder: "a", Log: zerolog.New(&log)}, receiver)
	const counted = `renat_hub_partial_deliveries_total{receiver="am"} `
	publish(t, nc, sample(1, 1))
	eventually(t, 10*time.Second, "the first to be counted", func() bool { return strings.Contains(get(t, h, "/metrics"), counted+"1") })
	publish(t, nc, sample(2, 2))
	eventually(t, 10*time.Second, "the second to be counted", func() bool { return strings.Contains(get(t, h, "/metrics"), counted+"2") })
	if said := log.String(); strings.Count(said, "delivered, but not every server took it") != 1 || !strings.Contains(said, gone.URL) {
		t.Errorf("logged %s", said)
	}
}

// logged is a log that may be read while it is written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
