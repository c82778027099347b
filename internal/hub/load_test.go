// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/sinks/jetstream"
)

// 100,000 incidents of 300 groups, as fast as they can be published: every
// group is notified, no incident is counted twice or left out, no body is
// large, and the hub's memory does not grow with them.
func TestLoad(t *testing.T) {
	const total, groups = 100_000, 300
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	r := newReceiver(t)
	start(t, nc, "a", r.yaml("ops", "group_wait: 1s", "group_interval: 2s"))
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	go flood(t, total, groups, nc.ConnectedUrl())
	peak := uint64(0)
	complete(t, total, "incidents to be notified", func() int {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapInuse)
		time.Sleep(100 * time.Millisecond)
		return r.count()
	})
	took := time.Since(began)
	seen, sum, largest, messages := map[string]int{}, 0, 0, r.notifications()
	for _, n := range messages {
		seen[n.Group.Labels["workload"]] += n.Count
		sum += n.Count
		if n.More != n.Count-len(n.Incidents) || n.Fetch.Last < n.Fetch.First {
			t.Errorf("%d incidents, %d listed, %d more, fetch %+v", n.Count, len(n.Incidents), n.More, n.Fetch)
		}
		largest = max(largest, len(r.body[n.ID]))
	}
	if sum != total || len(seen) != groups {
		t.Errorf("%d incidents of %d groups", sum, len(seen))
	}
	for w, n := range seen {
		if n != total/groups && n != total/groups+1 {
			t.Errorf("%s: %d", w, n)
		}
	}
	if largest > 80<<10 {
		t.Errorf("a body has %d bytes", largest)
	}
	// The server, the publisher and the receiver are in this process too. The
	// page's board is full at the end, and the collector lets the heap double.
	const board = 2 * 830 * hub.DefaultIncidents
	if grown := int64(peak) - int64(before.HeapInuse); grown > 256<<20+board {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	eventually(t, time.Minute, "the acknowledgements", func() bool { return unacknowledged(t, nc, "ops") == 0 })
	t.Logf("%d incidents in %s: %d notifications, largest body %d bytes, heap at most %d MiB with NATS and receiver",
		sum, took.Round(10*time.Millisecond), len(messages), largest, peak>>20)
}

// flood publishes incidents without the Publisher's bookkeeping, which the
// test does not measure.
func flood(t *testing.T, total, groups int, url string) {
	nc := connect(t, url)
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(2000))
	if err != nil {
		t.Error(err)
		return
	}
	for n := range total {
		i := sample(n%groups, n)
		b, err := i.MarshalCloudEvent()
		if err == nil {
			_, err = js.PublishAsync(incident.SubjectPrefix+fmt.Sprintf(".renat.prod.node%d", n%3), b, natsjs.WithStallWait(5*time.Minute))
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		t.Error("not all were published to " + jetstream.Stream)
	}
}
