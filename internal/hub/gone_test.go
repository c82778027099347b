// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/hub/grouping"
	"github.com/renat-project/renat/sinks/jetstream"
)

// everything is what a hub makes in NATS, as streams.
var everything = []string{jetstream.Stream, jetstream.DeadStream, "KV_RENAT_HUB", "KV_RENAT_HUB_LEASE", "KV_renat_nodes"}

// Whatever of it somebody removes from a running hub, or all, as when a NATS
// without a disk restarts: the hub makes it anew, and tells of each incident once.
func TestRemovedStreams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		removed []string
	}{
		{"incidents", everything[:1]},
		{"dead", everything[1:2]},
		{"states", everything[2:3]},
		{"lease", everything[3:4]},
		{"all", everything},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
			js := jetStream(t, nc)
			r, refuses := newReceiver(t), newReceiver(t)
			refuses.answer = refusing(http.StatusBadRequest)
			h, _ := start(t, nc, "a", r.yaml("ops"), refuses.yaml("refuses"))
			publish(t, nc, sample(0, 1), sample(1, 1))
			eventually(t, 60*time.Second, "the first notifications", func() bool {
				return r.count() == 2 && dead(t, nc) == 2 && unacknowledged(t, nc, "ops") == 0 && unacknowledged(t, nc, "refuses") == 0
			})
			for _, stream := range c.removed {
				if err := js.DeleteStream(t.Context(), stream); err != nil {
					t.Fatal(stream, err)
				}
			}
			publish(t, nc, sample(0, 2), sample(0, 3), sample(2, 1))
			eventually(t, 60*time.Second, "the other notifications", func() bool { return r.count() == 5 && dead(t, nc) >= 2 })
			eventually(t, 60*time.Second, "the hub to be ready", func() bool { return get(t, h, "/readyz") == "ok\n" })
			eventually(t, 60*time.Second, "all to be there again", func() bool {
				for _, stream := range everything {
					if _, err := js.Stream(t.Context(), stream); err != nil {
						return false
					}
				}
				return true
			})
			for id, times := range r.times {
				if times != 1 {
					t.Errorf("%s came %d times", id, times)
				}
			}
			if n := r.count(); n != 5 {
				t.Errorf("told of %d incidents, want 5", n)
			}
		})
	}
}

// Somebody removes a receiver's consumer, from a running hub or while none runs:
// what it had not acknowledged is told of, nothing else again, and what the stream
// drops meanwhile is counted.
func TestRemovedConsumer(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	js := jetStream(t, nc)
	remove := func() {
		t.Helper()
		if err := js.DeleteConsumer(t.Context(), jetstream.Stream, "renat-hub-ops"); err != nil {
			t.Fatal(err)
		}
	}
	r := newReceiver(t)
	var well atomic.Bool
	well.Store(true)
	r.answer = awayUntil(&well)
	told := func(n int) {
		t.Helper()
		eventually(t, 60*time.Second, fmt.Sprintf("%d to be told of", n), func() bool { return r.count() >= n && unacknowledged(t, nc, "ops") == 0 })
	}
	ops := r.yaml("ops", `match: ['workload=~".*w[0-2]"']`)
	h, stop := start(t, nc, "a", ops)
	publish(t, nc, sample(0, 1), sample(1, 1))
	told(2)
	well.Store(false)
	publish(t, nc, sample(0, 2), sample(1, 2))
	publish(t, nc, sample(3, 1)) // of no interest: acknowledged before those two
	eventually(t, 60*time.Second, "two to be held", func() bool { return unacknowledged(t, nc, "ops") == 2 })
	remove()
	well.Store(true)
	publish(t, nc, sample(0, 3), sample(2, 1))
	told(6)
	if unmatched := `renat_hub_incidents_total{fate="unmatched",receiver="ops"} 1` + "\n"; !strings.Contains(get(t, h, "/metrics"), unmatched) {
		t.Errorf("no %q: what was acknowledged came again", unmatched)
	}

	stop()
	remove()
	publish(t, nc, sample(0, 4))
	_, stop = start(t, nc, "b", ops)
	told(7)

	stop()
	remove()
	publish(t, nc, sample(0, 5), sample(0, 6), sample(0, 7))
	stream, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), natsjs.WithPurgeSequence(11)); err != nil {
		t.Fatal(err)
	}
	h, _ = start(t, nc, "c", ops)
	told(8)
	wantDropped(t, h, 2)
	r.check(t, "ops", []int{5, 2, 1}) // without the two
}

// A hub that stands by is ready while it sees that another one is active, and
// takes over also when the store of the lease is lost with the active hub.
func TestStandbyNeedsNoStore(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	js := jetStream(t, nc)
	r := newReceiver(t)
	ctx, stop := context.WithCancel(t.Context())
	lease, err := jetstream.AcquireLease(ctx, nc, jetstream.LeaseConfig{Holder: "first", TTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	h, _ := start(t, nc, "second", r.yaml("ops"))
	eventually(t, 30*time.Second, "the hub to stand by", func() bool { return get(t, h, "/readyz") == "ok\n" })
	stop() // as if it was killed: nothing is released
	<-lease.Context().Done()
	if err := js.DeleteKeyValue(t.Context(), "RENAT_HUB_LEASE"); err != nil {
		t.Fatal(err)
	}
	publish(t, nc, sample(1, 1))
	eventually(t, 60*time.Second, "the hub to take over and notify", func() bool { return r.count() == 1 })
}

// noRoomForTheLease makes the lease's bucket so small that nothing fits, until what it
// returns is called.
func noRoomForTheLease(t *testing.T, js natsjs.JetStream) (makeRoom func()) {
	t.Helper()
	full := natsjs.StreamConfig{
		Name: "KV_RENAT_HUB_LEASE", Subjects: []string{"$KV.RENAT_HUB_LEASE.>"}, MaxMsgsPerSubject: 1, MaxAge: 2 * time.Second,
		Discard: natsjs.DiscardNew, MaxBytes: 10, AllowRollup: true, DenyDelete: true, AllowDirect: true,
	}
	if _, err := js.CreateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		full.MaxBytes = -1
		if _, err := js.UpdateStream(t.Context(), full); err != nil {
			t.Fatal(err)
		}
	}
}

// A hub that NATS does not let take the lease is not ready, and says why.
func TestCannotTakeTheLease(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	js := jetStream(t, nc)
	makeRoom := noRoomForTheLease(t, js)
	r := newReceiver(t)
	h, _ := start(t, nc, "a", r.yaml("ops"))
	const want = "can neither become active nor see that another hub is: "
	eventually(t, 30*time.Second, "the hub to say why", func() bool { return strings.Contains(get(t, h, "/readyz"), want+"taking the lease: ") })
	makeRoom()
	publish(t, nc, sample(1, 1))
	eventually(t, 60*time.Second, "the hub to become active and notify", func() bool { return r.count() == 1 })
}

// While NATS stores no state of a receiver, the hub is not ready, and it can be
// ended. The next one goes on.
func TestEndsWhileNATSStoresNothing(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	js := jetStream(t, nc)
	r := newReceiver(t)
	h, stop := start(t, nc, "a", r.yaml("ops"))
	eventually(t, 60*time.Second, "the hub to be ready", func() bool { return get(t, h, "/readyz") == "ok\n" && unacknowledged(t, nc, "ops") == 0 })
	limit(t, js, natsjs.DiscardNew, 10)
	publish(t, nc, sample(1, 1))
	eventually(t, 60*time.Second, "the hub to say why", func() bool { return strings.Contains(get(t, h, "/readyz"), "receiver ops: writing the state") })
	stop() // fails the test if that takes 20 seconds
	if n := r.count(); n != 0 {
		t.Fatalf("%d were sent, and nobody would know", n)
	}
	limit(t, js, natsjs.DiscardOld, -1)
	start(t, nc, "b", r.yaml("ops"))
	eventually(t, 60*time.Second, "the next hub to notify", func() bool { return r.count() == 1 })
}

// limit sets what the bucket of the states does at how many bytes.
func limit(t *testing.T, js natsjs.JetStream, d natsjs.DiscardPolicy, bytes int64) {
	t.Helper()
	s, err := js.Stream(t.Context(), "KV_RENAT_HUB")
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Discard, c.MaxBytes = d, bytes
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// Where NATS takes small messages only, a notification lists fewer incidents,
// and says less.
func TestSmallPayload(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{MaxPayload: 6 << 10}).ClientURL())
	r := newReceiver(t)
	// What the last receiver has to say is nearly as large as a message.
	wordy := `text: '` + strings.Repeat("x", 7<<10) + `'`
	start(t, nc, "a", r.yaml("ops"), r.yaml("wordy", `match: ["workload=shop/Deployment/w1"]`, wordy))
	var all []*incident.Incident
	for n := range 40 {
		all = append(all, sample(0, n))
	}
	publish(t, nc, all...)
	publish(t, nc, sample(1, 1))
	eventually(t, 60*time.Second, "all to be told of", func() bool {
		return r.count() == 42 && unacknowledged(t, nc, "ops") == 0 && unacknowledged(t, nc, "wordy") == 0
	})
	for _, n := range r.notifications() {
		if n.Count != n.More+len(n.Incidents) || n.Count == 40 && len(n.Incidents) == 0 {
			t.Errorf("%d incidents, %d listed, %d more", n.Count, len(n.Incidents), n.More)
		}
	}
}

// What the stream drops while no hub reads it is counted.
func TestStreamDrops(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	js := jetStream(t, nc)
	small := natsjs.StreamConfig{Name: jetstream.Stream, Subjects: []string{incident.AllSubjects}, Discard: natsjs.DiscardOld, MaxBytes: 20 << 10}
	if _, err := js.CreateStream(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t)
	_, stop := start(t, nc, "a", r.yaml("ops"))
	publish(t, nc, sample(0, 0))
	eventually(t, 60*time.Second, "the first", func() bool { return r.count() == 1 && unacknowledged(t, nc, "ops") == 0 })
	stop() // the server may go on to send to it
	for n := 1; n < 100; n++ {
		publish(t, nc, sample(0, n))
	}
	kept := storedIncidents(t, js)
	h, _ := start(t, nc, "b", r.yaml("ops"))
	eventually(t, 60*time.Second, "what was kept", func() bool { return r.count() == 1+kept })
	if kept == 99 {
		t.Fatal("nothing was dropped")
	}
	wantDropped(t, h, 99-kept)
}

// What a hub held, or told of as it ended, and the stream drops before the next
// hub runs: the former is counted, and the latter is told of.
func TestStreamDropsWhatAHubHeld(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	js := jetStream(t, nc)
	r := newReceiver(t)
	var well atomic.Bool
	r.answer = awayUntil(&well)
	_, stop := start(t, nc, "a", r.yaml("ops"))
	publish(t, nc, sample(0, 0), sample(0, 1), sample(0, 2))
	eventually(t, 60*time.Second, "the first notification to be tried", func() bool {
		for _, s := range groupStates(t, js) {
			if s.Sending != nil && s.Sending.Notification.Count == 3 {
				return true
			}
		}
		return false
	})
	publish(t, nc, sample(0, 3), sample(1, 0), sample(0, 4)) // wait for the receiver
	eventually(t, 60*time.Second, "all to be sent to the hub", func() bool {
		c, err := js.Consumer(t.Context(), jetstream.Stream, "renat-hub-ops")
		return err == nil && c.CachedInfo().NumAckPending == 6
	})
	stop()
	stream, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), natsjs.WithPurgeSequence(6)); err != nil { // keeps one of those three
		t.Fatal(err)
	}
	well.Store(true)
	h, _ := start(t, nc, "b", r.yaml("ops"))
	eventually(t, 60*time.Second, "what was kept, and what was being sent", func() bool {
		return r.count() == 4 && unacknowledged(t, nc, "ops") == 0
	})
	wantDropped(t, h, 2)
}

// groupStates are what hubs have stored of groups.
func groupStates(t *testing.T, js natsjs.JetStream) (all []grouping.State) {
	t.Helper()
	kv, err := js.KeyValue(t.Context(), "RENAT_HUB")
	if err != nil {
		return nil
	}
	keys, err := kv.Keys(t.Context())
	if err != nil && !errors.Is(err, natsjs.ErrNoKeysFound) {
		t.Fatal(err)
	}
	for _, key := range keys {
		var s grouping.State
		if e, err := kv.Get(t.Context(), key); err == nil && json.Unmarshal(e.Value(), &s) == nil {
			all = append(all, s)
		}
	}
	return all
}

// storedIncidents is how many are in the stream. A consumer hears later of what
// is dropped.
func storedIncidents(t *testing.T, js natsjs.JetStream) int {
	t.Helper()
	stream, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	return int(stream.CachedInfo().State.Msgs)
}

// wantDropped wants a number of incidents to be counted as dropped.
func wantDropped(t *testing.T, h *hub.Hub, n int) {
	t.Helper()
	want := fmt.Sprintf(`renat_hub_incidents_total{fate="dropped",receiver="ops"} %d`, n)
	if got := get(t, h, "/metrics"); !strings.Contains(got, want+"\n") {
		t.Errorf("no %q in %s", want, got)
	}
}
