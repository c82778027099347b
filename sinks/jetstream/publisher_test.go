// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"context"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

func TestSameIncidentIsStoredOnce(t *testing.T) {
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	if d := send(t, p, 0, 3); d != 0 {
		t.Errorf("%d new incidents were duplicates", d)
	}
	if d := send(t, p, 1, 4); d != 2 {
		t.Errorf("%d of 2 repeated incidents were duplicates", d)
	}
	if d := send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 4); d != 4 {
		t.Errorf("%d of 4 repeated incidents were duplicates for another publisher", d)
	}
	if got, want := p.Counts(), (jetstream.Counts{Stored: 4, Duplicates: 2}); got != want {
		t.Errorf("Counts() = %+v, want %+v", got, want)
	}
	wantNumbers(t, read(t, nc, jetstream.ReadOptions{}), 0, 1, 2, 3)
}

func TestSameIncidentIsStoredOnceAcrossRestart(t *testing.T) {
	dir := t.TempDir()
	for run := range 2 {
		s := startServer(t, embedded.Config{Dir: dir})
		nc := connect(t, jetstream.Config{InProcess: s})
		if d := send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 5); d != 5*run {
			t.Errorf("run %d: %d duplicates", run, d)
		}
		wantNumbers(t, read(t, nc, jetstream.ReadOptions{}), 0, 1, 2, 3, 4)
		nc.Close()
		s.Shutdown()
	}
}

// A window of 100 ms stands for a replay that comes an hour after the first.
func TestSkipStoredOutlastsTheWindow(t *testing.T) {
	nc := embed(t)
	short := jetstream.StreamConfig{Duplicates: 100 * time.Millisecond}
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{Stream: short}), 0, 300)
	stored := time.Now()
	eventually(t, "the end of the window", func() bool { return time.Since(stored) > 300*time.Millisecond })

	p := newPublisher(t, nc, jetstream.PublisherConfig{SkipStored: true})
	if d := send(t, p, 0, 150); d != 150 {
		t.Errorf("%d of 150 stored incidents were duplicates", d)
	}
	for n := 150; n < 301; n++ {
		if err := p.Publish(t.Context(), sample(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := sample(400)
	other.Node = "node-b"
	if _, err := p.Send(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if got, want := p.Counts(), (jetstream.Counts{Stored: 2, Duplicates: 300}); got != want {
		t.Errorf("Counts() = %+v, want %+v", got, want)
	}
	if n := messages(t, nc); n != 302 {
		t.Errorf("the stream holds %d messages, want 302", n)
	}
	if d := send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 1); d != 0 {
		t.Error("the window had not passed: this test proves nothing")
	}
}

func TestNamesSurviveAsSubject(t *testing.T) {
	nc := embed(t)
	i := sample(1)
	i.Cluster, i.Node = "日本 > *.süd", "no.de\r\n"
	if _, err := newPublisher(t, nc, jetstream.PublisherConfig{}).Send(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	err := jetstream.Read(t.Context(), nc, jetstream.ReadOptions{Kinds: []incident.Kind{incident.Renat}}, func(s jetstream.Stored) error {
		if s.Incident.Cluster != i.Cluster || s.Incident.Node != i.Node || s.Incident.ID != i.ID {
			t.Errorf("got %+v", s.Incident)
		}
		if s.Sequence != 1 || time.Since(s.At) > time.Hour {
			t.Errorf("stored as %d at %s", s.Sequence, s.At)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream(t, nc).GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if msg.Subject != i.Subject() || msg.Header.Get("Content-Type") != incident.ContentType {
		t.Errorf("stored on %q with headers %v", msg.Subject, msg.Header)
	}
}

func TestOversizeIsPermanent(t *testing.T) {
	s := startNATS(t, &natsserver.Options{JetStream: true, MaxPayload: 4096})
	nc := connect(t, jetstream.Config{URL: s.ClientURL()})
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	large := sample(0)
	large.Source.Labels = []string{strings.Repeat("x", 5000)}
	_, err := p.Send(t.Context(), large)
	if !jetstream.Permanent(err) || !strings.Contains(err.Error(), large.ID) || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("Send = %v", err)
	}
	if err := p.Publish(t.Context(), large); !jetstream.Permanent(err) {
		t.Errorf("Publish = %v", err)
	}

	// The stream's own limit is known only to the server.
	st := stream(t, nc)
	config := st.CachedInfo().Config
	config.MaxMsgSize = 1000
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), sample(0)); !jetstream.Permanent(err) {
		t.Errorf("Send over the stream's limit = %v", err)
	}
	if err := p.Publish(t.Context(), sample(1)); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); !jetstream.Permanent(err) {
		t.Errorf("Flush over the stream's limit = %v", err)
	}
	if got := p.Counts(); got != (jetstream.Counts{Failed: 4}) {
		t.Errorf("Counts() = %+v", got)
	}
}

func TestStreamKeepsNewest(t *testing.T) {
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{Stream: jetstream.StreamConfig{MaxBytes: 20_000}})
	send(t, p, 0, 50)
	got := read(t, nc, jetstream.ReadOptions{})
	if len(got) < 3 || len(got) > 20 {
		t.Fatalf("%d incidents are kept in 20 kB", len(got))
	}
	wantNumbers(t, got, span(50-len(got), 50)...)
}

func TestFullStoreIsRetryable(t *testing.T) {
	s := startServer(t, embedded.Config{MaxStore: 100_000})
	nc := connect(t, jetstream.Config{InProcess: s})

	_, err := newPublisher(t, nc, jetstream.PublisherConfig{}).Send(t.Context(), sample(0))
	if err == nil || jetstream.Permanent(err) || !strings.Contains(err.Error(), "more storage") {
		t.Errorf("Send with a stream larger than the store = %v", err)
	}

	p := newPublisher(t, nc, jetstream.PublisherConfig{Stream: jetstream.StreamConfig{MaxBytes: -1}})
	n := 0
	for err = nil; err == nil && n < 1000; n++ {
		_, err = p.Send(t.Context(), sample(n))
	}
	n-- // the one that failed
	if n == 0 || err == nil || jetstream.Permanent(err) || !strings.Contains(err.Error(), "more storage") {
		t.Errorf("Send number %d into a full store = %v", n, err)
	}
	if err := p.Publish(t.Context(), sample(n)); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err == nil || jetstream.Permanent(err) || !strings.Contains(err.Error(), "more storage") {
		t.Errorf("Flush into a full store = %v", err)
	}
	if got := p.Counts(); got.Stored != uint64(n) || got.Failed != 2 {
		t.Errorf("Counts() = %+v after %d", got, n)
	}
	wantNumbers(t, read(t, nc, jetstream.ReadOptions{}), span(0, n)...)
}

// A publisher that skips what is stored knows what it stored itself, and looks
// again when it cannot know whether it did.
func TestSkipStoredKnowsItsOwn(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	const window = 100 * time.Millisecond
	short := jetstream.StreamConfig{Duplicates: window}
	p := newPublisher(t, nc, jetstream.PublisherConfig{Stream: short, SkipStored: true})
	if got, err := p.Window(t.Context()); err != nil || got != window {
		t.Errorf("Window = %s, %v", got, err)
	}
	send(t, p, 1, 2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Send(ended, sample(2)); err == nil {
		t.Fatal("sent by a context that has ended")
	}
	// It arrived all the same, as when only the answer was lost.
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 2, 3)
	if err := p.Publish(t.Context(), sample(3)); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * window)
	if duplicates, stored := send(t, p, 1, 4), messages(t, nc); duplicates != 3 || stored != 3 {
		t.Errorf("%d of 3 were duplicates, %d are stored, want 3", duplicates, stored)
	}
}
