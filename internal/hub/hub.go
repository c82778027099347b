// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
	"github.com/renat-project/renat/sinks/jetstream"
)

// Config is what a Hub needs.
type Config struct {
	// NATS is the connection; it stays the caller's.
	NATS *nats.Conn
	// Load reads the configuration: once in New, and whenever Reload has a value.
	// Nil: the hub notifies nobody and has only the page; another is active.
	Load   func() (*config.Config, error)
	Reload <-chan struct{}
	// Holder names this process among the hubs: unique, and for people.
	Holder string
	// Lease is after how long a hub that died is replaced; 0:
	// jetstream.DefaultLease. The first hub on a NATS decides.
	Lease time.Duration
	// Replicas in NATS of what the hub needs: it creates as many, and raises
	// what has fewer; 0: 1.
	Replicas int
	// Incidents the page can show, some 0.8 kB of memory each; 0: DefaultIncidents.
	Incidents int
	// Access says who may see the page and /v1; nil: this machine.
	Access *api.Access
	// Version of renat, for the page.
	Version string
	Log     zerolog.Logger
}

// DefaultIncidents is how many incidents the page can show.
const DefaultIncidents = 100_000

// Hub consumes incidents and notifies.
type Hub struct {
	config   Config
	current  atomic.Pointer[config.Config]
	changed  chan struct{}
	active   atomic.Bool
	registry *prometheus.Registry
	metrics  *metrics
	board    *board.Board
	// standing is why this hub can neither take the lease nor see that another
	// one has it.
	standing trouble
	// complaints are those of the hub; each lane has its own.
	complaints jetstream.Complaints
	handler    http.Handler

	// mu guards lanes, which the HTTP handlers read.
	mu    sync.Mutex
	lanes map[string]*running
}

// New reads the configuration.
func New(c Config) (*Hub, error) {
	first := &config.Config{}
	if c.Load != nil {
		var err error
		if first, err = c.Load(); err != nil {
			return nil, err
		}
	}
	h := &Hub{config: c, changed: make(chan struct{}, 1), lanes: map[string]*running{}, registry: prometheus.NewRegistry()}
	h.metrics = newMetrics(h.registry, c.Version, c.Load != nil)
	h.configure(first)
	h.metrics.reloaded(nil)
	h.board = newBoard(c)
	h.standing.set(errors.New("the lease has not been read yet"))
	h.handler = h.newHandler()
	return h, nil
}

const (
	// retryAfter is how long the hub, or a lane, waits before it tries again
	// what NATS did not let it do.
	retryAfter = 2 * time.Second
	// endWithin is how long the notification that is on its way may take when
	// the hub ends; whoever takes over sends it again.
	endWithin = 10 * time.Second
)

// Run is active whenever no other hub is, until ctx ends; then it finishes the
// notifications on their way and returns nil.
func (h *Hub) Run(ctx context.Context) error {
	if h.config.Load == nil {
		h.show(ctx)
		return nil
	}
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { h.reload(ctx) })
	background.Go(func() { h.show(ctx) })
	for ctx.Err() == nil {
		if err := h.turn(ctx); err != nil && ctx.Err() == nil {
			if errors.Is(err, nats.ErrConnectionClosed) {
				return err
			}
			h.standing.set(err)
			complain(&h.complaints, h.config.Log, err, "not active, trying again")
			pause(ctx, retryAfter)
		}
	}
	return nil
}

// turn waits for the lease and is active while it lasts.
func (h *Hub) turn(ctx context.Context) error {
	said := ""
	// The lease outlives ctx, for what is on its way then.
	held, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	abort := context.AfterFunc(ctx, drop)
	lease, err := jetstream.AcquireLease(held, h.config.NATS, jetstream.LeaseConfig{
		Holder: h.config.Holder, TTL: h.config.Lease, Replicas: h.config.Replicas,
		Waiting: func(holder string) {
			h.standing.set(nil)
			if holder != said {
				h.config.Log.Info().Str("active", holder).Msg("another hub is active, standing by")
				said = holder
			}
		},
	})
	if err != nil {
		return err
	}
	if !abort() {
		return errors.Join(ctx.Err(), lease.Release(context.WithoutCancel(ctx)))
	}
	h.standing.set(nil)
	h.config.Log.Info().Msg("active")
	err = h.work(ctx, lease.Context())
	if lease.Context().Err() != nil {
		return errors.Join(err, context.Cause(lease.Context()))
	}
	release, cancel := context.WithTimeout(held, retryAfter)
	defer cancel()
	return errors.Join(err, lease.Release(release))
}

// work runs the lanes until ctx or the lease ends.
func (h *Hub) work(ctx, lease context.Context) error {
	h.active.Store(true)
	h.metrics.active.Set(1)
	defer h.metrics.active.Set(0)
	defer h.active.Store(false)
	defer h.apply(lease, &config.Config{})
	h.replicate(lease)
	for {
		h.apply(lease, h.current.Load())
		select {
		case <-h.changed:
		case <-ctx.Done():
			return nil
		case <-lease.Done():
			return nil
		}
	}
}

// replicate has NATS keep as many copies as are asked for, and says where there
// are too few.
func (h *Hub) replicate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	all, err := jetstream.Replicate(ctx, h.config.NATS, h.config.Replicas)
	if err != nil {
		h.config.Log.Warn().Err(err).Msg("not known how many copies NATS keeps")
	}
	for _, c := range all {
		switch {
		case c.Few != nil:
			h.config.Log.Warn().Err(c.Few).Msg("too few copies: see --nats-replicas")
		case c.Raised:
			h.config.Log.Info().Str("stream", c.Stream).Int("copies", c.Replicas).Msg("NATS keeps more copies now")
		}
	}
}

// apply makes the lanes be those of c: a receiver that is configured as before
// keeps its lane.
func (h *Hub) apply(ctx context.Context, c *config.Config) {
	want := map[string]*config.Receiver{}
	for _, r := range c.Receivers {
		want[r.Name] = r
	}
	var ending []*running
	h.mu.Lock()
	for name, l := range h.lanes {
		if r := want[name]; r == nil || r.Fingerprint != l.lane.receiver.Fingerprint {
			l.stop()
			ending = append(ending, l)
			delete(h.lanes, name)
		}
	}
	h.mu.Unlock()
	for _, l := range ending {
		<-l.ended
		h.metrics.forget(l.lane.receiver.Name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, r := range want {
		if h.lanes[name] == nil {
			h.lanes[name] = start(ctx, newLane(r, h.config, h.metrics.of(name)))
		}
	}
}

// running is a lane with its goroutine.
type running struct {
	lane  *lane
	stop  func()
	ended chan struct{}
}

// start runs a lane, again and again, until ctx ends or stop is called.
func start(ctx context.Context, l *lane) *running {
	stopping := make(chan struct{})
	r := &running{lane: l, stop: sync.OnceFunc(func() { close(stopping) }), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for {
			err := l.run(ctx, stopping)
			if err != nil {
				l.trouble.set(err)
			}
			select {
			case <-stopping:
				return
			case <-ctx.Done():
				return
			default:
			}
			complain(&l.complaints, l.log, err, "receiver stopped, starting it again")
			select {
			case <-stopping:
				return
			case <-ctx.Done():
				return
			case <-time.After(retryAfter):
			}
		}
	}()
	return r
}

// configure sets the configuration to use.
func (h *Hub) configure(c *config.Config) {
	for _, r := range c.Receivers {
		h.metrics.dropped(r.Name)
	}
	h.current.Store(c)
}

// reload reads the configuration whenever it is asked to.
func (h *Hub) reload(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.config.Reload:
		}
		c, err := h.config.Load()
		h.metrics.reloaded(err)
		if err != nil {
			h.config.Log.Error().Err(err).Msg("the new configuration is wrong: keeping the old one")
			continue
		}
		h.configure(c)
		select {
		case h.changed <- struct{}{}:
		default:
		}
		h.config.Log.Info().Int("receivers", len(c.Receivers)).Msg("configuration read")
	}
}

// complain logs what may fail so again and again.
func complain(c *jetstream.Complaints, log zerolog.Logger, err error, what string) {
	if c.Due(fmt.Sprint(what, ": ", err)) {
		log.Warn().Err(err).Msg(what)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// ensureStream makes sure that there is a stream to read.
func ensureStream(ctx context.Context, c Config) error {
	stream, err := jetstream.NewPublisher(c.NATS, jetstream.PublisherConfig{Stream: jetstream.StreamConfig{Replicas: c.Replicas}})
	if err != nil {
		return err
	}
	defer stream.Close()
	if err := stream.Ensure(ctx); err != nil {
		return fmt.Errorf("preparing to read incidents: %w", err)
	}
	return nil
}
