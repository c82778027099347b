// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/web/board"
	"github.com/renat-project/renat/internal/agent/peaks"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

const (
	// lookBack is how far before its start an agent asks Hubble for flows: they
	// tell who is who, and which connections are established.
	lookBack = 10 * time.Minute
	// drainWait is how long an agent that ends may take to store what it found
	// and to send it; with the rest of its end it stays below 5 s.
	drainWait = 3 * time.Second
)

// agent is what Run made and its parts share.
type agent struct {
	config  Config
	started time.Time
	log     zerolog.Logger
	flows   *hubble.Client
	outbox  *outbox.Outbox
	nats    *nats.Conn
	natsURL string // to show: without its secrets
	clock   *clock
	tracker *tracker
	tally   *tally
	board   *board.Board
	observe *observer // nil if there is none
	tops    tops
	peaks   *peaks.Peaks
	rates   *rates
	metrics *metrics
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
	var rest sync.WaitGroup
	for _, run := range []func(context.Context) error{
		func(ctx context.Context) error { return box.Run(ctx, nc) },
		func(ctx context.Context) error { return serve(ctx, c.Listener, a.handler()) },
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
	sources.Go(func() error { return a.flows.Run(watching, a.tracker.flow) })
	sources.Go(func() error { return a.tracker.run(watching) })
	a.sayStarted()

	failed := sources.Wait()
	a.tracker.finish()
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
		clock: newClock(systemClocks()), tally: newTally(), board: board.New(board.Config{}), rates: &rates{},
		tops: tops{evicted: map[string]*holders{}},
	}
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
	a.metrics = newMetrics(a)
	a.tracker, err = newTracker(correlator.Config{
		Node: c.Node, Cluster: c.Cluster, Settle: c.Settle, MaxConnections: c.MaxConnections,
	}, a.clock, c.Kernel.CaughtUp, a.metrics.flowDelay, a.found)
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
	a.tally.add(i, time.Now())
	a.board.Add(i, 0)
	a.observe.found(i)
	a.metrics.found(i, delay)
	a.outbox.Add(i) // a full queue is counted there
}

// change takes what the kernel tracer emits.
func (a *agent) change(ev correlator.Event) {
	a.tops.change(&ev)
	a.tracker.change(ev)
}

// drain waits until what was found is on disk and, if NATS is there, sent.
func (a *agent) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainWait)
	defer cancel()
	return a.outbox.Drain(ctx, a.nats)
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
