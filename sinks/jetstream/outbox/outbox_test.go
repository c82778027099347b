// SPDX-License-Identifier: Apache-2.0

package outbox_test

import (
	"context"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
	"github.com/renat-project/renat/sinks/jetstream/outbox"
	"github.com/renat-project/renat/sinks/sinktest/smalldisk"
)

// patience is how long a connection may take.
const patience = time.Minute

// sample returns the n-th of any number of different incidents.
func sample(n int) *incident.Incident {
	at := time.Now()
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset, Time: at, Node: "node-a", Cluster: "test", Protocol: "TCP",
		Source:      incident.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Port: uint16(n)},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443},
		NAT:         incident.NAT{Map: "cilium_snat_v4_external"},
	}
	i.ID = i.NewID(uint64(n))
	return i
}

// running is an outbox that runs until stop, or the test's end.
type running struct {
	*outbox.Outbox
	stop func()
}

func run(t *testing.T, c outbox.Config, hub *nats.Conn) running {
	t.Helper()
	c.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel)
	o, err := outbox.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = o.Run(ctx, hub) // ctx's error
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		<-ended
		o.Close()
	})
	t.Cleanup(stop)
	return running{o, stop}
}

// hub is the NATS that incidents go to.
type hub struct {
	*embedded.Server
	dir, listen string
	conn        *nats.Conn
}

func startHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{dir: t.TempDir(), listen: "127.0.0.1:0"}
	h.start(t)
	var err error
	h.conn, err = jetstream.Connect(t.Context(), jetstream.Config{URL: h.ClientURL(), Wait: patience, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.conn.Close)
	t.Cleanup(func() { h.Shutdown() })
	return h
}

// start starts the server, again where it was.
func (h *hub) start(t *testing.T) {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: h.dir, Listen: h.listen, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	h.Server, h.listen = s, s.ClientURL()[len("nats://"):]
}

// ports returns how often each sample is in the hub's stream.
func (h *hub) ports(t *testing.T) map[int]int {
	t.Helper()
	got := map[int]int{}
	err := jetstream.Read(t.Context(), h.conn, jetstream.ReadOptions{}, func(s jetstream.Stored) error {
		got[int(s.Incident.Source.Port)]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (h *hub) wantOnce(t *testing.T, from, to int) {
	t.Helper()
	got := h.ports(t)
	for n := from; n < to; n++ {
		if got[n] != 1 {
			t.Errorf("incident %d is there %d times, want once", n, got[n])
		}
		delete(got, n)
	}
	if len(got) > 0 {
		t.Errorf("also there: %v", got)
	}
}

// eventually waits until cond holds, for as long as go test lets it: how fast a
// busy machine's disk is says nothing of the outbox.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	end, limited := t.Deadline()
	for ; !cond(); time.Sleep(5 * time.Millisecond) {
		if limited && time.Until(end) < 5*time.Second {
			t.Fatal("waited in vain for: ", what)
		}
	}
}

func (r running) drain(t *testing.T, hub *nats.Conn) {
	t.Helper()
	if err := r.Drain(t.Context(), hub, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
}

func TestForwardsEachOnce(t *testing.T) {
	hub := startHub(t)
	o := run(t, outbox.Config{Dir: t.TempDir()}, hub.conn)
	for n := range 500 {
		o.Add(sample(n))
		o.Add(sample(n)) // as a correlator that was restarted may
	}
	o.drain(t, hub.conn)
	hub.wantOnce(t, 0, 500)
	if s := o.Status(); s.Stored != 1000 || s.Forwarded != 500 || s.Waiting != 0 || s.Lost() != 0 || s.Unsent != nil {
		t.Errorf("status %+v", s)
	}
	recent, err := o.Recent(t.Context(), 10)
	if err != nil || len(recent) != 10 || recent[9].Source.Port != 499 || recent[0].Source.Port != 490 {
		t.Errorf("recent: %d, %v", len(recent), err)
	}
}

// The first incident may be in NATS before a hub makes the stream.
func TestMakesTheStream(t *testing.T) {
	hub := startHub(t)
	o := run(t, outbox.Config{Dir: t.TempDir(), Stream: jetstream.StreamConfig{MaxAge: time.Hour, Duplicates: time.Minute}}, hub.conn)
	o.Add(sample(0))
	o.drain(t, hub.conn)
	js, err := natsjs.New(hub.conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.MaxAge != time.Hour || c.Duplicates != time.Minute {
		t.Errorf("the stream is %+v", c)
	}
}

func TestHubStopsAndComesBack(t *testing.T) {
	hub := startHub(t)
	o := run(t, outbox.Config{Dir: t.TempDir()}, hub.conn)
	for n := range 100 {
		o.Add(sample(n))
	}
	eventually(t, "some are forwarded", func() bool { return o.Status().Forwarded > 0 })
	hub.Shutdown()
	for n := range 200 {
		o.Add(sample(100 + n))
	}
	eventually(t, "all are on disk", func() bool { return o.Status().Stored == 300 })
	eventually(t, "the status says why none is sent", func() bool { return o.Status().Unsent != nil })
	hub.start(t)
	eventually(t, "all are in NATS", func() bool { return o.Status().Waiting == 0 })
	hub.wantOnce(t, 0, 300)
	if s := o.Status(); s.Unsent != nil || s.Lost() != 0 {
		t.Errorf("status %+v", s)
	}
}

// The outbox's own server dies with the process; what it had stays.
func TestGoesOnAfterRestart(t *testing.T) {
	hub, dir := startHub(t), t.TempDir()
	hub.Shutdown()
	o := run(t, outbox.Config{Dir: dir}, hub.conn)
	for n := range 50 {
		o.Add(sample(n))
	}
	eventually(t, "all are on disk", func() bool { return o.Status().Stored == 50 })
	o.stop()
	hub.start(t)
	eventually(t, "the hub's connection is back", hub.conn.IsConnected)
	o = run(t, outbox.Config{Dir: dir}, hub.conn)
	for n := range 50 {
		o.Add(sample(50 + n))
	}
	o.drain(t, hub.conn)
	o.stop()
	o = run(t, outbox.Config{Dir: dir}, hub.conn)
	o.drain(t, hub.conn)
	hub.wantOnce(t, 0, 100)
	if s := o.Status(); s.Forwarded != 0 {
		t.Errorf("%d were sent again", s.Forwarded)
	}
}

// What an outbox has no room for is counted, while NATS is away already.
func TestFullOutboxDropsTheOldest(t *testing.T) {
	hub := startHub(t)
	hub.Shutdown()
	o := run(t, outbox.Config{Dir: t.TempDir(), MaxBytes: 64 << 10}, hub.conn)
	const all = 400
	for n := range all {
		o.Add(sample(n))
	}
	eventually(t, "all were on disk", func() bool { return o.Status().Stored == all })
	eventually(t, "the loss is counted", func() bool { return o.Status().Dropped > 0 })
	hub.start(t)
	eventually(t, "the rest is in NATS", func() bool { return o.Status().Waiting == 0 })
	got, s := hub.ports(t), o.Status()
	if len(got) != int(s.Forwarded) || s.Forwarded+s.Dropped != all || got[all-1] != 1 {
		t.Errorf("%d in NATS, status %+v", len(got), s)
	}
}

func TestFullQueueIsCounted(t *testing.T) {
	o, err := outbox.Open(t.Context(), outbox.Config{Dir: t.TempDir(), Queue: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for n, want := range []bool{true, true, false, false} {
		if o.Add(sample(n)) != want {
			t.Errorf("Add %d, want %v", n, want)
		}
	}
	if s := o.Status(); s.Overflowed != 2 || s.Queued != 2 {
		t.Errorf("status %+v", s)
	}
}

// A disk that is full makes the server silent for good; the outbox starts it
// again, and what waited arrives.
func TestFullDisk(t *testing.T) {
	disk := smalldisk.New(t, "2m")
	hub := startHub(t)
	o := run(t, outbox.Config{Dir: disk.Dir}, hub.conn)
	o.Add(sample(0))
	o.drain(t, hub.conn)
	disk.Fill()
	for n := range 30 {
		o.Add(sample(1 + n))
	}
	eventually(t, "the status says that the disk takes nothing", func() bool { return o.Status().Problem != nil })
	disk.Free()
	eventually(t, "all are in NATS", func() bool { s := o.Status(); return s.Queued == 0 && s.Waiting == 0 })
	hub.wantOnce(t, 0, 31)
	if s := o.Status(); s.Lost() != 0 || s.Problem != nil {
		t.Errorf("status %+v", s)
	}
}

// connectOwn connects to the outbox's own server.
func (r running) connectOwn(t *testing.T) natsjs.JetStream {
	t.Helper()
	own, err := jetstream.Connect(t.Context(), jetstream.Config{URL: r.URL(), Wait: patience, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	js, err := natsjs.New(own)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// A stream of an operator's may know ids for a short time only: what was sent
// longer ago and not noted, as after a kill, is looked up.
func TestShortWindow(t *testing.T) {
	hub, dir := startHub(t), t.TempDir()
	js, err := natsjs.New(hub.conn)
	if err != nil {
		t.Fatal(err)
	}
	const window = 300 * time.Millisecond
	c := natsjs.StreamConfig{Name: jetstream.Stream, Subjects: []string{incident.AllSubjects}, Duplicates: window}
	if _, err := js.CreateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	o := run(t, outbox.Config{Dir: dir}, hub.conn)
	for n := range 10 {
		o.Add(sample(n))
	}
	o.drain(t, hub.conn)
	o.stop()
	// As if the agent had been killed before it noted anything.
	if err := os.Remove(filepath.Join(dir, "forwarded.json")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * window)
	o = run(t, outbox.Config{Dir: dir}, hub.conn)
	o.drain(t, hub.conn)
	hub.wantOnce(t, 0, 10)
}

// A large outbox leaves room for what else its server stores, and nothing in it
// expires: not by age, not by a clock that is set ahead.
func TestLargeOutbox(t *testing.T) {
	hub := startHub(t)
	o := run(t, outbox.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", MaxBytes: 2 << 30}, hub.conn)
	js := o.connectOwn(t)
	p, err := jetstream.NewPublisher(js.Conn(), jetstream.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Send(t.Context(), sample(1)); err != nil {
		t.Error(err)
	}
	if _, err := jetstream.OpenDeadLetters(t.Context(), js.Conn(), 1); err != nil {
		t.Error(err)
	}
	s, err := js.Stream(t.Context(), "RENAT_OUTBOX")
	if err != nil {
		t.Fatal(err)
	}
	if age := s.CachedInfo().Config.MaxAge; age != 0 {
		t.Errorf("incidents expire after %s", age)
	}
}
