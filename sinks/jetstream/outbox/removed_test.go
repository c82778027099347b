// SPDX-License-Identifier: Apache-2.0

package outbox_test

import (
	"errors"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

// remove removes the outbox's stream. It does not wait for an answer, which is
// lost if the outbox sees it first and starts its server again.
func remove(t *testing.T, js natsjs.JetStream) {
	t.Helper()
	s, err := js.Stream(t.Context(), "RENAT_OUTBOX")
	if err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().Publish("$JS.API.STREAM.DELETE.RENAT_OUTBOX", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is gone, or another", func() bool {
		other, err := js.Stream(t.Context(), "RENAT_OUTBOX")
		return errors.Is(err, natsjs.ErrStreamNotFound) || err == nil && !other.CachedInfo().Created.Equal(s.CachedInfo().Created)
	})
}

// Somebody removes the outbox of a running agent: what comes then is forwarded,
// and what waited is counted as lost.
func TestOutboxIsRemoved(t *testing.T) {
	hub := startHub(t)
	o := run(t, outbox.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}, hub.conn)
	for n := range 20 {
		o.Add(sample(n))
	}
	o.drain(t, hub.conn)
	js := o.connectOwn(t)
	remove(t, js)
	for n := 20; n < 30; n++ {
		o.Add(sample(n))
	}
	eventually(t, "the later ones are in NATS", func() bool { return o.Status().Forwarded == 30 })
	hub.wantOnce(t, 0, 30)

	hub.Shutdown()
	for n := 30; n < 35; n++ {
		o.Add(sample(n))
	}
	eventually(t, "all are on disk", func() bool { return o.Status().Stored == 35 })
	remove(t, js)
	eventually(t, "the loss is counted", func() bool { return o.Status().Dropped == 5 })
	o.Add(sample(35))
	hub.start(t)
	eventually(t, "the last is in NATS", func() bool { return o.Status().Forwarded == 31 })
	if s := o.Status(); s.Waiting != 0 || s.Lost() != 5 {
		t.Errorf("status %+v", s)
	}
}
