// SPDX-License-Identifier: Apache-2.0

package outbox_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/sinks/jetstream/embedded"
	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

// rests reports whether the outbox's server is stopped.
func (r running) rests(t *testing.T) bool {
	t.Helper()
	_, err := r.Recent(t.Context(), 1)
	return err != nil
}

// An outbox with nothing to do stops its server, keeps its directory, and loses
// nothing that comes at any moment of that.
func TestRests(t *testing.T) {
	const rest = 20 * time.Millisecond
	hub, dir := startHub(t), t.TempDir()
	o := run(t, outbox.Config{Dir: dir, RestAfter: rest}, hub.conn)
	eventually(t, "it rests", func() bool { return o.rests(t) })
	if _, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Log: zerolog.Nop()}); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("another server in its directory: %v, want ErrInUse", err)
	}
	if err := o.Status().Problem; err != nil {
		t.Errorf("it has a problem: %v", err)
	}
	const all = 100
	for n := range all {
		o.Add(sample(n))
		time.Sleep(rand.N(4 * rest))
	}
	o.drain(t, hub.conn)
	hub.wantOnce(t, 0, all)
	if s := o.Status(); s.Stored != all || s.Forwarded != all || s.Lost() != 0 || s.Problem != nil {
		t.Errorf("status %+v", s)
	}
	eventually(t, "it rests again", func() bool { return o.rests(t) })
	o.stop()
	o = run(t, outbox.Config{Dir: dir}, hub.conn)
	if recent, err := o.Recent(t.Context(), all); err != nil || len(recent) != all {
		t.Errorf("%d incidents are on disk: %v", len(recent), err)
	}
}

// While NATS is away, or clients use the server, it does not rest.
func TestDoesNotRest(t *testing.T) {
	const rest = 20 * time.Millisecond
	hub := startHub(t)
	serving := run(t, outbox.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", RestAfter: rest}, hub.conn)
	idle := run(t, outbox.Config{Dir: t.TempDir(), RestAfter: rest}, hub.conn)
	eventually(t, "one without clients rests", func() bool { return idle.rests(t) })
	hub.Shutdown()
	idle.Add(sample(0))
	eventually(t, "it is on disk", func() bool { return idle.Status().Stored == 1 })
	other := run(t, outbox.Config{Dir: t.TempDir(), RestAfter: 2 * rest}, hub.conn)
	eventually(t, "one that began later rests", func() bool { return other.rests(t) })
	if serving.rests(t) {
		t.Error("one that serves clients rests")
	}
	if idle.rests(t) {
		t.Error("one that has something to send rests")
	}
	hub.start(t)
	eventually(t, "it is in NATS", func() bool { return idle.Status().Waiting == 0 })
	hub.wantOnce(t, 0, 1)
}
