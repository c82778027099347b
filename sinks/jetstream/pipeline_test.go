// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

func publish(t testing.TB, p *jetstream.Publisher, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := p.Publish(t.Context(), sample(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPublishKeepsOrderAndDropsDuplicates(t *testing.T) {
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{MaxPending: 7})
	for range 2 {
		publish(t, p, 0, 100)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := p.Counts(), (jetstream.Counts{Stored: 100, Duplicates: 100}); got != want {
		t.Errorf("Counts() = %+v, want %+v", got, want)
	}
	wantNumbers(t, read(t, nc, jetstream.ReadOptions{}), span(0, 100)...)
}

// The server goes away three times while incidents are being published, and
// comes back with its store.
func TestPublishSurvivesRestarts(t *testing.T) {
	t.Parallel()
	c := embedded.Config{Dir: t.TempDir(), Listen: freeAddress(t)}
	s := startServer(t, c)
	nc := connect(t, jetstream.Config{URL: s.ClientURL()})
	p := newPublisher(t, nc, jetstream.PublisherConfig{MaxPending: 16})
	const total = 400
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		for run := range 3 {
			for p.Counts().Stored < uint64(100*(run+1)) {
				time.Sleep(time.Millisecond)
			}
			s.Shutdown()
			time.Sleep(100 * time.Millisecond)
			s = startServer(t, c)
		}
	}()
	publish(t, p, 0, total)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-restarted
	if got := p.Counts(); got.Failed != 0 || got.Stored+got.Duplicates != total {
		t.Errorf("Counts() = %+v of %d", got, total)
	}
	if n := messages(t, nc); n != total {
		t.Errorf("the stream holds %d messages, want %d", n, total)
	}
}

func TestFlushEndsWithContext(t *testing.T) {
	s := startServer(t, embedded.Config{Listen: "127.0.0.1:0"})
	nc := connect(t, jetstream.Config{URL: s.ClientURL()})
	p := newPublisher(t, nc, jetstream.PublisherConfig{MaxPending: 2})
	publish(t, p, 0, 2)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	eventually(t, "the client to notice", nc.IsReconnecting)

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	var err error
	for n := 2; err == nil; n++ { // soon there is no room for another
		err = p.Publish(ctx, sample(n))
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "see that NATS is up") {
		t.Errorf("Publish = %v", err)
	}
	if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush = %v", err)
	}
	if _, err := p.Send(ctx, sample(99)); !errors.Is(err, context.DeadlineExceeded) || jetstream.Permanent(err) {
		t.Errorf("Send = %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a context of 200 ms ended after %s", took)
	}
}

// Somebody removes the stream while a publisher runs.
func TestRemovedStreamIsMadeAgain(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for n, store := range []func(){
		func() { send(t, p, 0, 1) },
		func() { send(t, p, 1, 2) },
		func() {
			publish(t, p, 2, 3)
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		store()
		wantNumbers(t, read(t, nc, jetstream.ReadOptions{}), n)
		if err := js.DeleteStream(t.Context(), jetstream.Stream); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	s := startServer(t, embedded.Config{Listen: "127.0.0.1:0"})
	before := clientStacks()
	for range 3 {
		nc := connect(t, jetstream.Config{URL: s.ClientURL()})
		p := newPublisher(t, nc, jetstream.PublisherConfig{SkipStored: true})
		send(t, p, 0, 3)
		publish(t, p, 3, 10)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		read(t, nc, jetstream.ReadOptions{Last: 2})
		ctx, cancel := context.WithCancel(t.Context())
		err := jetstream.Read(ctx, nc, jetstream.ReadOptions{Follow: true}, func(jetstream.Stored) error {
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Read = %v", err)
		}
		p.Close()
		nc.Close()
	}
	eventually(t, "goroutines of the client to end", func() bool { return clientStacks() <= before })
}
