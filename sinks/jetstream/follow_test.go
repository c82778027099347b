// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// follower runs an endless Read.
type follower struct {
	mu   sync.Mutex
	got  []int
	done chan error
	stop context.CancelFunc
}

func follow(t *testing.T, nc *nats.Conn, o jetstream.ReadOptions) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{done: make(chan error, 1), stop: cancel}
	o.Follow = true
	go func() {
		f.done <- jetstream.Read(ctx, nc, o, func(s jetstream.Stored) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.got = append(f.got, number(s))
			return nil
		})
	}()
	t.Cleanup(cancel)
	return f
}

func (f *follower) numbers() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

// wait waits for these incidents, and that no other came.
func (f *follower) wait(t *testing.T, want ...int) {
	t.Helper()
	eventually(t, "incidents", func() bool { return len(f.numbers()) >= len(want) })
	wantNumbers(t, f.numbers(), want...)
}

// end cancels and checks that Read returns at once.
func (f *follower) end(t *testing.T) {
	t.Helper()
	f.stop()
	select {
	case err := <-f.done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Read = %v", err)
		}
	case <-time.After(time.Second):
		t.Error("Read does not end with its context")
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	all := follow(t, nc, jetstream.ReadOptions{}) // there is no stream yet
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	send(t, p, 0, 5)
	all.wait(t, span(0, 5)...)

	last := follow(t, nc, jetstream.ReadOptions{Last: 2})
	last.wait(t, 3, 4)
	none := follow(t, nc, jetstream.ReadOptions{Last: 1})
	none.wait(t, 4)
	since := follow(t, nc, jetstream.ReadOptions{Since: epoch.Add(3 * time.Second)})
	since.wait(t, 3, 4)
	for n := 5; n < 8; n++ {
		send(t, p, n, n+1)
	}
	all.wait(t, span(0, 8)...)
	last.wait(t, span(3, 8)...)
	none.wait(t, span(4, 8)...)
	since.wait(t, span(3, 8)...)
	for _, f := range []*follower{all, last, none, since} {
		f.end(t)
	}
}

// Where there was no stream when following began, all that comes is new, however
// much of it comes before the reader sees the stream.
func TestFollowWithoutAStream(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := nc.SubscribeSync("$JS.API.STREAM.INFO." + jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	fresh, last := follow(t, nc, jetstream.ReadOptions{NewOnly: true}), follow(t, nc, jetstream.ReadOptions{Last: 2})
	for range 2 { // both know that there is none
		if _, err := asked.NextMsg(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Stream(t.Context(), jetstream.Stream); !errors.Is(err, natsjs.ErrStreamNotFound) {
		t.Fatal(err)
	}
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 30)
	fresh.wait(t, span(0, 30)...)
	last.wait(t, span(0, 30)...)
}

func TestFollowNewOnly(t *testing.T) {
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	send(t, p, 0, 5)
	f := follow(t, nc, jetstream.ReadOptions{NewOnly: true})
	eventually(t, "the follower's consumer", func() bool { return stream(t, nc).CachedInfo().State.Consumers == 1 })
	send(t, p, 5, 7)
	f.wait(t, 5, 6)
	f.end(t)
}

func TestFollowSurvivesRestarts(t *testing.T) {
	t.Parallel()
	c := embedded.Config{Dir: t.TempDir(), Listen: freeAddress(t)}
	s := startServer(t, c)
	nc := connect(t, jetstream.Config{URL: s.ClientURL()})
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	f := follow(t, nc, jetstream.ReadOptions{})
	send(t, p, 0, 3)
	f.wait(t, span(0, 3)...)

	s.Shutdown()
	eventually(t, "the client to notice", nc.IsReconnecting) // what it sends before is lost
	s = startServer(t, c)
	send(t, p, 3, 6)
	began := time.Now()
	f.wait(t, span(0, 6)...)
	t.Logf("the reader was back %s after the publisher", time.Since(began).Round(time.Millisecond))

	s.Shutdown()
	eventually(t, "the client to notice", nc.IsReconnecting)
	f.end(t)
}

// The new stream counts from one again; the follower must not wait for a
// sequence that is far away.
func TestFollowRemovedStream(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	f := follow(t, nc, jetstream.ReadOptions{})
	send(t, p, 0, 20)
	f.wait(t, span(0, 20)...)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), jetstream.Stream); err != nil {
		t.Fatal(err)
	}
	send(t, p, 20, 23)
	f.wait(t, span(0, 23)...)
	f.end(t)
}
