// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/agent/guard"
	"github.com/renat-project/renat/internal/agent/peaks"
	"github.com/renat-project/renat/internal/agent/tracing"
	"github.com/renat-project/renat/internal/web/board"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

const (
	// lookBack is how far before its start an agent asks Hubble for flows: they
	// tell who is who, and which connections are established.
	lookBack = 10 * time.Minute
	// storeWait is how long an agent that ends may take to store what it found,
	// which a slow disk or a busy node needs; well below the 30 s after which
	// Kubernetes kills it.
	storeWait = 10 * time.Second
	// sendWait is how long of that it may send; with the rest of its end it stays
	// below 5 s where the disk is not slow.
	sendWait = 3 * time.Second
	// countWait is how long it may take before that to count ports.
	countWait = time.Second
)

// agent is what Run made and its parts share.
type agent struct {
	config  Config
	started time.Time
	log     zerolog.Logger
	flows   *hubble.Client
	outbox  *outbox.Outbox
	nats    *nats.Conn
	natsURL string      // to show: without its secrets
	twin    atomic.Bool // another agent tells of a node of the same names
	clock   *clock
	tracker *tracker
	tally   *tally
	board   *board.Board
	observe *observer    // nil if there is none
	guard   *guard.Guard // nil if there is none
	tracing *tracing.Hub
	tops    tops
	risks   risks
	peaks   *peaks.Peaks
	rates   *rates
	metrics *metrics
	// counting are incidents for which ports are being counted, until mayCount ends.
	counting sync.WaitGroup
	counts   atomic.Int32 // how many they are
	mayCount context.Context
}

// OneCore has this process's goroutines run on one core at a time, unless
// GOMAXPROCS is set. An agent needs some hundredths of a core, in hundreds of turns
// a second, in each of which Go would wake up threads on other cores to help: that
// takes more than the work. It is for processes that do nothing besides.
func OneCore() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// Run watches a node until ctx ends, and then returns nil when all that was
// found is on disk. Cilium, Hubble and NATS may come and go meanwhile. It fails
// when the kernel tracer does, when the state directory is another's or cannot
// be used, and on settings that no waiting mends.
func Run(ctx context.Context, c Config) error {
	for _, l := range []net.Listener{c.Listener, c.Observer.Listener} {
		if l != nil {
			defer l.Close()
		}
	}
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	front, served := &front{}, make(chan error, 1)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	go func() { served <- serve(serving, c.Listener, front) }()
	box, err := outbox.Open(ctx, c.outbox())
	if err != nil {
		return err
	}
	defer box.Close()
	natsConfig := c.nats(box.URL())
	nc, err := jetstream.Connect(ctx, natsConfig)
	if err != nil {
		return err
	}
	defer nc.Close()
	a, err := newAgent(c, box, nc, jetstream.RedactURL(natsConfig.URL))
	if err != nil {
		return err
	}
	if err := a.showHistory(ctx); err != nil {
		return err
	}

	// The sources end first; what they found is decided, stored and sent; then
	// the rest ends.
	asked := ctx
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	storing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	mayCount, stopCounting := context.WithCancel(storing)
	defer stopCounting()
	a.mayCount = mayCount
	front.use(a.handler())
	var rest sync.WaitGroup
	for _, run := range []func(context.Context) error{
		func(ctx context.Context) error { return box.Run(ctx, nc) },
		func(ctx context.Context) error {
			defer context.AfterFunc(ctx, stopServing)()
			return <-served
		},
		a.observe.run, a.sample, a.tell,
	} {
		rest.Go(func() {
			if err := run(storing); storing.Err() == nil {
				fail(err)
			}
		})
	}
	sources, watching := errgroup.WithContext(ctx)
	sources.Go(func() error { return c.Kernel.Run(watching, a.observe.noting(a.change)) })
	sources.Go(func() error { return a.flows.Run(watching, a.flow) })
	sources.Go(func() error { return a.tracker.run(watching) })
	sources.Go(func() error { return a.clock.watch(watching) })
	if a.guard != nil {
		sources.Go(func() error { return a.guard.Run(watching) })
	}
	a.sayStarted()

	failed := sources.Wait()
	counted := time.AfterFunc(countWait, stopCounting)
	defer counted.Stop()
	a.tracker.finish()
	a.counting.Wait()
	drained := a.drain()
	stop()
	rest.Wait()
	if err := a.peaks.Save(); err != nil {
		a.log.Warn().Err(err).Msg("the next start will not know it")
	}
	switch {
	case asked.Err() != nil:
		failed = nil
	case context.Cause(ctx) != nil:
		failed = context.Cause(ctx) // of one of the rest
	}
	return errors.Join(failed, drained)
}

// sayStarted tells where the agent can be reached.
func (a *agent) sayStarted() {
	reached := Addresses{NATS: a.natsURL}
	if a.config.Listener != nil {
		reached.HTTP = a.config.Listener.Addr().String()
	}
	a.log.Info().Str("node", a.config.Node).Str("http", reached.HTTP).Str("nats", reached.NATS).Msg("watching")
	if a.config.Started != nil {
		a.config.Started(reached)
	}
}

func newAgent(c Config, box *outbox.Outbox, nc *nats.Conn, natsURL string) (*agent, error) {
	a := &agent{
		config: c, started: time.Now(), log: c.Log, outbox: box, nats: nc, natsURL: natsURL,
		clock: newClock(kprobes.Clocks), tally: newTally(), board: board.New(board.Config{}), rates: &rates{},
		tops: tops{evicted: map[string]*holders{}},
	}
	a.tracing = newTracing(&c, a.clock)
	var err error
	if a.peaks, err = peaks.Open(filepath.Join(c.StateDir, peaksFile)); err != nil {
		a.log.Warn().Err(err).Msg("what was before the start is forgotten")
	}
	c.Hubble.Follow, c.Hubble.Since, c.Hubble.Logger = true, a.started.Add(-lookBack), c.Log
	if a.flows, err = hubble.New(c.Hubble); err != nil {
		return nil, err
	}
	if a.observe, err = newObserver(&c); err != nil {
		return nil, err
	}
	if c.Guard != nil {
		guarding := *c.Guard
		guarding.Log = c.Log
		if a.guard, err = guard.New(guarding, c.Kernel, c.Kernel.Status().CPUs); err != nil {
			return nil, err
		}
	}
	a.metrics = newMetrics(a)
	a.tracker, err = newTracker(correlator.Config{
		Node: c.Node, Cluster: c.Cluster, Settle: c.Settle, MaxConnections: c.MaxConnections,
	}, a.clock, c.Kernel, a.metrics.flowDelay, a.found)
	return a, err
}

// showHistory puts on the board what was found before the start.
func (a *agent) showHistory(ctx context.Context) error {
	history, err := a.outbox.Recent(ctx, a.board.Capacity())
	for _, i := range history {
		a.board.Load(i, 0)
		a.observe.found(i)
	}
	return err
}

// found takes an incident from the correlator. It must not wait.
func (a *agent) found(i *incident.Incident, delay time.Duration) {
	if a.guard != nil {
		i.NAT.Guarded = a.guard.Knows(tupleOf(i))
	}
	if i.Ports == nil {
		a.publish(i, delay)
		return
	}
	a.counting.Go(func() {
		a.countPorts(a.mayCount, i)
		a.publish(i, delay)
	})
}

// publish tells of an incident everywhere.
func (a *agent) publish(i *incident.Incident, delay time.Duration) {
	a.tally.add(i, time.Now())
	a.board.Add(i, 0)
	a.observe.found(i)
	a.metrics.found(i, delay)
	a.outbox.Add(i) // a full queue is counted there
}

// tupleOf is the tuple of the packets that an incident's pod sent.
func tupleOf(i *incident.Incident) correlator.Tuple {
	protocol, _ := correlator.ParseProtocol(i.Protocol) // the correlator named it
	return correlator.Tuple{Src: correlator.AddrOf(i.Source.AddrPort()), Dst: correlator.AddrOf(i.Destination.AddrPort()), Protocol: protocol}
}

// flow takes what Hubble's client emits.
func (a *agent) flow(ev correlator.Event) {
	if a.guard != nil {
		a.guard.Flow(&ev)
	}
	a.tracing.Flow(&ev)
	a.tracker.flow(ev)
}

// change takes what the kernel tracer emits.
func (a *agent) change(ev correlator.Event) {
	if m := ev.NAT.Map; ev.Kind == correlator.KindNAT && ev.NAT.Op == correlator.Replaced {
		a.tally.replaced(m.Name)
		a.log.Warn().Str("map", m.Name).Uint32("max_entries_before", m.Was).Uint32("max_entries", m.MaxEntries).
			Msg("Cilium replaced a map by an empty one: what was open breaks, or is tracked anew, by its next packet")
	}
	a.tops.change(&ev)
	if a.guard != nil {
		a.guard.Change(&ev)
	}
	a.tracker.change(ev)
}

// drain waits until what was found is on disk and, if NATS is there, sent.
func (a *agent) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	return a.outbox.Drain(ctx, a.nats, sendWait)
}

// outbox returns the outbox's configuration.
func (c *Config) outbox() outbox.Config {
	o := outbox.Config{Dir: c.StateDir, MaxBytes: c.OutboxMaxBytes, Stream: jetstream.StreamConfig{Replicas: c.Replicas}, Log: c.Log}
	if c.NATS.URL == "" {
		o.Listen = c.NATSListen
	}
	return o
}

// nats returns how to reach NATS, by default the server at embedded.
func (c *Config) nats(embedded string) jetstream.Config {
	n := c.NATS
	n.Name, n.Wait, n.Log = "renat agent "+c.Node, 0, c.Log
	n.Inbox = "_INBOX." + incident.EncodeToken(c.Cluster) + "." + incident.EncodeToken(c.Node)
	if n.URL == "" {
		n = jetstream.Config{URL: embedded, Name: n.Name, Log: n.Log}
	}
	return n
}
