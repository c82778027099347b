// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// consume reads with a consumer until n messages have come and returns them,
// and where among them the mark Settled came.
func consume(t *testing.T, nc *nats.Conn, n int) (c *jetstream.Consumer, got []jetstream.Delivery, settled int) {
	t.Helper()
	c, err := jetstream.OpenConsumer(t.Context(), nc, jetstream.ConsumerConfig{Name: "test", MaxPending: 1000})
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	settled = -1
	err = c.Run(ctx, func(d jetstream.Delivery) error {
		switch d.Mark {
		case jetstream.Settled:
			settled = len(got)
		case jetstream.Message:
			if got = append(got, d); len(got) == n {
				return enough
			}
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("Run = %v after %d messages", err, len(got))
	}
	return c, got, settled
}

func sequences(all []jetstream.Delivery) (s []uint64) {
	for _, d := range all {
		s = append(s, d.Sequence)
	}
	slices.Sort(s)
	return s
}

// The second reader gets what the first did not acknowledge, soon, and before
// anything that is new.
func TestConsumerTakesOver(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	send(t, p, 0, 10)
	first, got, settled := consume(t, nc, 10)
	if settled != 0 || !slices.Equal(sequences(got), []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Fatalf("first: settled after %d, %v", settled, sequences(got))
	}
	if err := first.Ack(t.Context(), []string{got[1].Ack, got[9].Ack}); err != nil {
		t.Fatal(err)
	}
	send(t, p, 10, 15)
	began := time.Now()
	second, got, settled := consume(t, nc, 13)
	if settled != 8 || !slices.Equal(sequences(got[:8]), []uint64{1, 3, 4, 5, 6, 7, 8, 9}) || !slices.Equal(sequences(got[8:]), []uint64{11, 12, 13, 14, 15}) {
		t.Errorf("second: settled after %d, %v", settled, sequences(got))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	var acks []string
	for _, d := range got {
		acks = append(acks, d.Ack)
	}
	if err := second.Ack(t.Context(), acks); err != nil {
		t.Fatal(err)
	}
	send(t, p, 15, 16)
	_, got, settled = consume(t, nc, 1)
	if got[0].Sequence != 16 || settled != 0 {
		t.Errorf("third: settled after %d, %v", settled, sequences(got))
	}
}

// A reader that was suspended may acknowledge what the next one is waiting for.
func TestConsumerTakesOverFromTheUndead(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 10)
	first, got, _ := consume(t, nc, 10)
	second, err := jetstream.OpenConsumer(t.Context(), nc, jetstream.ConsumerConfig{Name: "test", MaxPending: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Ack(t.Context(), []string{got[2].Ack, got[3].Ack}); err != nil {
		t.Fatal(err)
	}
	settled := errors.New("settled")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // less than it waits for what never comes
	defer cancel()
	came := map[uint64]bool{}
	err = second.Run(ctx, func(d jetstream.Delivery) error {
		switch d.Mark {
		case jetstream.Settled:
			return settled
		case jetstream.Message:
			came[d.Sequence] = true
		}
		return nil
	})
	if !errors.Is(err, settled) || len(came) != 8 {
		t.Errorf("Run = %v after %d messages", err, len(came))
	}
}

// A reader that takes longer than the wait of a claim for what it claims is not
// sent all of it again and again.
func TestConsumerTakesOverSlowly(t *testing.T) {
	t.Parallel()
	const owed = 1000
	nc := embed(t)
	send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, owed)
	consume(t, nc, owed)
	second, err := jetstream.OpenConsumer(t.Context(), nc, jetstream.ConsumerConfig{Name: "test", MaxPending: owed})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	came, again, settled := map[uint64]bool{}, 0, false
	err = second.Run(ctx, func(d jetstream.Delivery) error {
		switch {
		case d.Mark == jetstream.Settled:
			settled = true
			time.AfterFunc(5*time.Second, cancel) // whatever else was sent comes
		case d.Mark == jetstream.Claiming:
		case came[d.Sequence]:
			again++
		default:
			came[d.Sequence] = true
			time.Sleep(4 * time.Millisecond)
		}
		return nil
	})
	if !settled || len(came) != owed || again > owed*3/4 {
		t.Fatalf("Run = %v, settled %v, after %d messages, and %d once more", err, settled, len(came), again)
	}
	t.Logf("%d messages, and %d once more", len(came), again)
}

func TestConsumerNeedsAStream(t *testing.T) {
	if _, err := jetstream.OpenConsumer(t.Context(), embed(t), jetstream.ConsumerConfig{Name: "x"}); !errors.Is(err, jetstream.ErrNoStream) {
		t.Errorf("OpenConsumer = %v", err)
	}
}

// Of a stream that takes more than incidents a reader cannot tell what was dropped.
func TestConsumerKnowsWhetherItCounts(t *testing.T) {
	for _, subjects := range [][]string{{incident.AllSubjects}, {"audit", incident.AllSubjects}, {"renat.>"}} {
		nc := embed(t)
		js, err := natsjs.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), natsjs.StreamConfig{Name: jetstream.Stream, Subjects: subjects}); err != nil {
			t.Fatal(err)
		}
		c, err := jetstream.OpenConsumer(t.Context(), nc, jetstream.ConsumerConfig{Name: "x", MaxPending: 1})
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Equal(subjects, []string{incident.AllSubjects})
		if c.CountsDrops() != want {
			t.Errorf("with subjects %v it is %v", subjects, !want)
		}
		if others, _, err := jetstream.Others(t.Context(), nc); err != nil || (len(others) == 0) != want {
			t.Errorf("beside incidents %v takes %v: %v", subjects, others, err)
		}
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	server := startServer(t, embedded.Config{Listen: "127.0.0.1:0"})
	a, b := connect(t, jetstream.Config{URL: server.ClientURL()}), connect(t, jetstream.Config{URL: server.ClientURL()})
	first, err := jetstream.AcquireLease(t.Context(), a, jetstream.LeaseConfig{Holder: "a"})
	if err != nil {
		t.Fatal(err)
	}
	waiting := ""
	asking, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = jetstream.AcquireLease(asking, b, jetstream.LeaseConfig{Holder: "b", Waiting: func(h string) {
		waiting = h
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || waiting != "a" {
		t.Fatalf("a second got the lease: %v, waiting for %q", err, waiting)
	}
	// The first loses its connection: it stops before the second begins.
	a.Close()
	second, err := jetstream.AcquireLease(t.Context(), b, jetstream.LeaseConfig{Holder: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if first.Context().Err() == nil || !errors.Is(context.Cause(first.Context()), jetstream.ErrLeaseLost) {
		t.Errorf("both have the lease: %v", context.Cause(first.Context()))
	}
	if err := second.Release(t.Context()); err != nil {
		t.Error(err)
	}
	c, err := jetstream.AcquireLease(t.Context(), b, jetstream.LeaseConfig{Holder: "c", Waiting: func(h string) {
		t.Errorf("after a release it waits for %q", h)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// A server whose disk was full keeps the lease of a process that is gone: nobody
// is active, and nobody may be told so.
func TestLeaseThatDoesNotExpire(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), natsjs.KeyValueConfig{Bucket: "RENAT_HUB_LEASE", TTL: time.Second, LimitMarkerTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	kept := nats.NewMsg("$KV.RENAT_HUB_LEASE.active")
	kept.Header.Set("Nats-TTL", "never")
	kept.Data = []byte("dead")
	if _, err := js.PublishMsg(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	_, err = jetstream.AcquireLease(t.Context(), nc, jetstream.LeaseConfig{Holder: "a", Waiting: func(h string) {
		t.Errorf("%q is said to be active", h)
	}})
	if err == nil || !strings.Contains(err.Error(), "the lease of dead is neither renewed nor expires") {
		t.Errorf("AcquireLease = %v", err)
	}
	if err := kv.Delete(t.Context(), "active"); err != nil {
		t.Fatal(err)
	}
	if _, err := jetstream.AcquireLease(t.Context(), nc, jetstream.LeaseConfig{Holder: "a"}); err != nil {
		t.Error(err)
	}
}

func TestStates(t *testing.T) {
	nc := embed(t)
	s, err := jetstream.OpenStates(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	one, err := s.Put(t.Context(), "ops", "k", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "ops", "k", []byte("x"), 0); !errors.Is(err, jetstream.ErrStale) {
		t.Errorf("a second first Put = %v", err)
	}
	two, err := s.Put(t.Context(), "ops", "k", []byte("2"), one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "ops", "k", []byte("x"), one); !errors.Is(err, jetstream.ErrStale) {
		t.Errorf("Put with an old revision = %v", err)
	}
	if _, err := s.Put(t.Context(), "other", "k", []byte("y"), 0); err != nil {
		t.Error(err)
	}
	all, err := s.Load(t.Context(), "ops")
	if err != nil || len(all) != 1 || string(all["k"].Value) != "2" || all["k"].Revision != two {
		t.Errorf("Load = %v, %v", all, err)
	}
	if err := s.Delete(t.Context(), "ops", "k", one); !errors.Is(err, jetstream.ErrStale) {
		t.Errorf("Delete with an old revision = %v", err)
	}
	if err := s.Delete(t.Context(), "ops", "k", two); err != nil {
		t.Error(err)
	}
	if all, err = s.Load(t.Context(), "ops"); err != nil || len(all) != 0 {
		t.Errorf("Load = %v, %v", all, err)
	}
	if _, err := s.Put(t.Context(), "ops", "k", []byte("3"), 0); err != nil {
		t.Errorf("Put after Delete = %v", err)
	}
}

func TestDeadLetters(t *testing.T) {
	d, err := jetstream.OpenDeadLetters(t.Context(), embed(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2", "2", "3"} {
		if err := d.Put(t.Context(), "ops", id, []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (bodies string) {
		err := d.Each(t.Context(), func(l jetstream.Letter) error {
			bodies += string(l.Body)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return bodies
	}
	if got := read(); got != "123" {
		t.Errorf("letters %s", got)
	}
	for _, seq := range []uint64{2, 2, 99} {
		if err := d.Remove(t.Context(), seq); err != nil {
			t.Error(err)
		}
	}
	if got := read(); got != "13" {
		t.Errorf("letters %s", got)
	}
	for _, seq := range []uint64{1, 3} {
		if err := d.Remove(t.Context(), seq); err != nil {
			t.Error(err)
		}
	}
	if got := read(); got != "" {
		t.Errorf("letters %s", got)
	}
}

// The server goes on to send to a reader that it does not know to be gone, as
// one whose machine went away: the next reader gets that, too.
func TestConsumerTakesWhatWentAstray(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	send(t, p, 0, 1)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consume(t, nc, 1)
	second, err := jetstream.OpenConsumer(t.Context(), nc, jetstream.ConsumerConfig{Name: "test", MaxPending: 1000})
	if err != nil {
		t.Fatal(err)
	}
	undead, err := js.Consumer(t.Context(), jetstream.Stream, "test")
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	came := map[uint64]int{}
	settled := 0
	err = second.Run(ctx, func(d jetstream.Delivery) error {
		switch d.Mark {
		case jetstream.Settled:
			if settled++; settled > 1 {
				break
			}
			batch, err := undead.Fetch(1000, natsjs.FetchMaxWait(5*time.Second))
			if err != nil {
				return err
			}
			send(t, p, 1, 200)
			for range batch.Messages() { // never acknowledged
			}
		case jetstream.Message:
			came[d.Sequence]++
		}
		if len(came) == 200 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("Run = %v after %d messages, settled %d times", err, len(came), settled)
	}
}
