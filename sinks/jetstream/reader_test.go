// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

func TestReadWhatIsStored(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	publish(t, p, 0, 400)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	orphaned := sample(400)
	orphaned.Kind = incident.OrphanedReply
	if _, err := p.Send(t.Context(), orphaned); err != nil {
		t.Fatal(err)
	}
	even := func(i *incident.Incident) bool { return i.Time.Unix()%2 == 0 }
	rare := func(i *incident.Incident) bool { return i.Time.Sub(epoch) < 3*time.Second }
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

	for name, c := range map[string]struct {
		options jetstream.ReadOptions
		want    []int
	}{
		"all":               {jetstream.ReadOptions{}, span(0, 401)},
		"last":              {jetstream.ReadOptions{Last: 3}, span(398, 401)},
		"last of few":       {jetstream.ReadOptions{Last: 2000}, span(0, 401)},
		"last, all":         {jetstream.ReadOptions{Last: 401}, span(0, 401)},
		"kind":              {jetstream.ReadOptions{Kinds: []incident.Kind{incident.OrphanedReply}}, []int{400}},
		"both kinds":        {jetstream.ReadOptions{Kinds: []incident.Kind{incident.OrphanedReply, incident.Renat}}, span(0, 401)},
		"last of a kind":    {jetstream.ReadOptions{Kinds: []incident.Kind{incident.Renat}, Last: 2}, span(398, 400)},
		"unknown kind":      {jetstream.ReadOptions{Kinds: []incident.Kind{"other"}}, nil},
		"last matching":     {jetstream.ReadOptions{Match: even, Last: 2}, []int{398, 400}},
		"last, rare match":  {jetstream.ReadOptions{Match: rare, Last: 2}, []int{1, 2}},
		"too rare a match":  {jetstream.ReadOptions{Match: rare, Last: 5}, []int{0, 1, 2}},
		"since an incident": {jetstream.ReadOptions{Since: at(397)}, span(397, 401)},
		"since, last":       {jetstream.ReadOptions{Since: at(397), Last: 2}, span(399, 401)},
		"since, last, few":  {jetstream.ReadOptions{Since: at(399), Last: 9}, span(399, 401)},
		"tail":              {jetstream.ReadOptions{Tail: 3}, span(398, 401)},
		"tail, all":         {jetstream.ReadOptions{Tail: 401}, span(0, 401)},
		"longer tail":       {jetstream.ReadOptions{Tail: 1000}, span(0, 401)},
		"tail matching":     {jetstream.ReadOptions{Tail: 3, Match: even}, []int{398, 400}},
		"tail, last":        {jetstream.ReadOptions{Tail: 3, Last: 5}, span(398, 401)},
		"new only":          {jetstream.ReadOptions{NewOnly: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := read(t, nc, c.options); !slices.Equal(got, c.want) {
				t.Errorf("got %d incidents, want %d: %v", len(got), len(c.want), got)
			}
		})
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	if _, err := jetstream.Get(t.Context(), nc, 1); !errors.Is(err, jetstream.ErrNoStream) {
		t.Errorf("without a stream: %v", err)
	}
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 3)
	got, err := jetstream.Get(t.Context(), nc, 2)
	if err != nil || got.Sequence != 2 || got.Incident.ID != sample(1).ID || len(got.Incident.Evidence) != 8 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := jetstream.Get(t.Context(), nc, 4); !errors.Is(err, jetstream.ErrNotStored) {
		t.Errorf("beyond the end: %v", err)
	}
}

// A follower is told when it has seen what was stored before.
func TestOnStored(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	err := jetstream.Read(ctx, nc, jetstream.ReadOptions{Follow: true, OnStored: func() {
		if seen != 3 {
			t.Errorf("told after %d of 3", seen)
		}
		cancel()
	}}, func(jetstream.Stored) error { seen++; return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A recording that is replayed now holds incidents of long ago.
func TestSinceIsTheTimeOfTheIncident(t *testing.T) {
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	now := time.Now().Truncate(time.Second)
	for _, age := range []time.Duration{1000 * time.Hour, time.Minute, 2 * time.Hour, 0} {
		i := sample(0)
		i.Time = now.Add(-age)
		i.ID = i.NewID(uint64(age))
		if _, err := p.Send(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	for since, want := range map[time.Duration]int{30 * time.Second: 1, time.Hour: 2, 3 * time.Hour: 3, 2000 * time.Hour: 4} {
		if got := read(t, nc, jetstream.ReadOptions{Since: now.Add(-since)}); len(got) != want {
			t.Errorf("%d incidents since %s ago, want %d", len(got), since, want)
		}
	}
}

func TestReadNothing(t *testing.T) {
	nc := embed(t)
	err := jetstream.Read(t.Context(), nc, jetstream.ReadOptions{}, nil)
	if !errors.Is(err, jetstream.ErrNoStream) || !strings.Contains(err.Error(), "nothing has been published") {
		t.Errorf("Read without a stream = %v", err)
	}
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	if err := p.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, o := range []jetstream.ReadOptions{{}, {Last: 5}, {Since: time.Now()}} {
		wantNumbers(t, read(t, nc, o))
	}
	send(t, p, 0, 3)
	if err := stream(t, nc).Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, o := range []jetstream.ReadOptions{{}, {Last: 5}} {
		wantNumbers(t, read(t, nc, o))
	}
}

func TestGarbledMessagesAreReportedAndPassed(t *testing.T) {
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	send(t, p, 0, 1)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(event(t, sample(7)), "incident.v1", "incident.v9", 1)
	for _, data := range []string{"", "{", later, event(t, sample(8))[:200]} {
		if _, err := js.Publish(t.Context(), incident.SubjectPrefix+".renat.c.n", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	send(t, p, 1, 2)
	for _, o := range []jetstream.ReadOptions{{}, {Last: 2}, {Last: 10}} {
		var garbled []uint64
		o.OnGarbled = func(sequence uint64, _ string, err error) {
			garbled = append(garbled, sequence)
			if (sequence == 4) != errors.Is(err, incident.ErrNotIncident) {
				t.Errorf("message %d: %v", sequence, err)
			}
		}
		wantNumbers(t, read(t, nc, o), 0, 1)
		if !slices.Equal(garbled, []uint64{2, 3, 4, 5}) {
			t.Errorf("garbled messages %v", garbled)
		}
	}
}

// With Last the end of the stream is read several times.
func TestGarbledMessagesAreReportedOnce(t *testing.T) {
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	send(t, p, 0, 1)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for range 600 {
		if _, err := js.PublishAsync(incident.SubjectPrefix+".renat.c.n", []byte("?")); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	seen := 0
	wantNumbers(t, read(t, nc, jetstream.ReadOptions{Last: 1, OnGarbled: func(uint64, string, error) { seen++ }}), 0)
	if seen != 600 {
		t.Errorf("600 garbled messages were reported %d times", seen)
	}
}

func TestYieldsErrorStops(t *testing.T) {
	nc := embed(t)
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 3)
	stop, calls := errors.New("stop"), 0
	for _, o := range []jetstream.ReadOptions{{}, {Follow: true}, {Last: 3}} {
		calls = 0
		err := jetstream.Read(t.Context(), nc, o, func(jetstream.Stored) error { calls++; return stop })
		if !errors.Is(err, stop) || calls != 1 {
			t.Errorf("Read = %v after %d calls", err, calls)
		}
	}
}

// What is left to read is removed while it is being read.
func TestReadEndsWhenTheRestIsRemoved(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	publish(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 700)
	st := stream(t, nc)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	calls := 0
	err := jetstream.Read(ctx, nc, jetstream.ReadOptions{}, func(jetstream.Stored) error {
		if calls++; calls == 1 {
			return st.Purge(ctx)
		}
		return nil
	})
	if err != nil || calls == 700 {
		t.Errorf("Read = %v after %d calls", err, calls)
	}
}

func TestReadFailsWhenTheServerIsGone(t *testing.T) {
	s := startServer(t, embedded.Config{Listen: "127.0.0.1:0"})
	nc := connect(t, jetstream.Config{URL: s.ClientURL()})
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 1)
	s.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := jetstream.Read(ctx, nc, jetstream.ReadOptions{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read = %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a context of 300 ms ended after %s", took)
	}
	nc.Close()
	if err := jetstream.Read(t.Context(), nc, jetstream.ReadOptions{Follow: true}, nil); err == nil {
		t.Error("Read on a closed connection gave no error")
	}
}

func event(t *testing.T, i *incident.Incident) string {
	t.Helper()
	b, err := i.MarshalCloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
