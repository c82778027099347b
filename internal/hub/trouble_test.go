// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/hub"
)

// While NATS stores nothing, the hub tries again and again, and says so once.
func TestTroubleIsSaidOnce(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	js := jetStream(t, nc)
	makeRoom := noRoomForTheLease(t, js)
	attempts := func(subject string, more int) {
		t.Helper()
		s, err := nc.SubscribeSync(subject)
		if err != nil {
			t.Fatal(err)
		}
		for range more {
			if _, err := s.NextMsg(60 * time.Second); err != nil {
				t.Fatalf("%s: %v", subject, err)
			}
		}
		if err := s.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
	var log logged
	r := newReceiver(t)
	h, _ := runHub(t, hub.Config{NATS: nc, Holder: "a", Log: zerolog.New(io.MultiWriter(&log, t.Output())).Level(zerolog.InfoLevel)}, r.yaml("ops"))
	attempts("$KV.RENAT_HUB_LEASE.active", 4)
	if n := strings.Count(log.String(), "not active, trying again"); n != 1 {
		t.Errorf("that it is not active is said %d times", n)
	}
	makeRoom()
	eventually(t, 60*time.Second, "the hub to be ready", func() bool { return get(t, h, "/readyz") == "ok\n" && unacknowledged(t, nc, "ops") == 0 })
	limit(t, js, natsjs.DiscardNew, 10)
	r.mu.Lock()
	r.answer = func(http.ResponseWriter, *http.Request) bool {
		t.Error("a notification was sent that nobody would know of")
		return true
	}
	r.mu.Unlock()
	publish(t, nc, sample(1, 1))
	attempts("$KV.RENAT_HUB.ops.>", 4)
	if n := strings.Count(log.String(), `"message":"trying again"`); n != 1 {
		t.Errorf("that no state is stored is said %d times", n)
	}
}
