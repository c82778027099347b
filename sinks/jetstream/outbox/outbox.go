// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
)

const (
	// DefaultMaxBytes bounds the outbox on disk: some 20,000 incidents.
	DefaultMaxBytes = 64 << 20
	// DefaultQueue is how many incidents may wait for the disk, some 30 MB.
	DefaultQueue = 10_000
	// DefaultRestAfter is longer than the 8 s in which a running server costs the
	// 10 ms of CPU of starting it, which the next incident has to wait for.
	DefaultRestAfter = 30 * time.Second

	// checkEvery is how often the server is asked whether it can store.
	checkEvery = 5 * time.Second
	// minPause and maxPause are between attempts at something that failed.
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
	// lossLog is how often the log tells what was lost.
	lossLog = time.Minute
)

// Config is what an Outbox needs.
type Config struct {
	Dir string // holds the store; created if missing
	// Listen is the host:port at which the embedded server takes clients;
	// empty: none, but this process.
	Listen string
	// MaxBytes bounds the outbox on disk, history included; the oldest
	// incident goes first, sent or not. 0: DefaultMaxBytes.
	MaxBytes int64
	// Queue is how many incidents may wait for the disk; 0: DefaultQueue.
	Queue int
	// RestAfter is for how long nothing must have come before the server is
	// stopped, if there is no Listen; 0: DefaultRestAfter.
	RestAfter time.Duration
	// Stream is how to create the stream in NATS if it is missing there.
	Stream jetstream.StreamConfig
	Log    zerolog.Logger
}

// Outbox is the store and what moves incidents through it.
type Outbox struct {
	config Config
	queue  chan *incident.Incident
	cursor cursor
	newest atomic.Uint64 // sequence of the newest incident on disk
	// arrived wakes the forwarder when something was stored.
	arrived chan struct{}
	counts  counts
	// hand is between queue and disk; it is the writing goroutine's.
	hand *incident.Incident

	mu      sync.Mutex // guards what follows
	store   *store     // nil while the server is down
	problem error      // why the store does not take incidents; nil if it does
	unsent  error      // why the last attempt to forward failed; nil if it did not
}

type counts struct {
	stored, forwarded, overflowed, dropped, refused atomic.Uint64
	queued                                          atomic.Int64 // added, and not on disk yet
}

// Open starts the embedded server on the directory. Errors: embedded.ErrInUse,
// or what is wrong with the directory or the address.
func Open(ctx context.Context, c Config) (*Outbox, error) {
	c.MaxBytes, c.RestAfter = cmp.Or(c.MaxBytes, DefaultMaxBytes), cmp.Or(c.RestAfter, DefaultRestAfter)
	o := &Outbox{
		config: c, queue: make(chan *incident.Incident, cmp.Or(c.Queue, DefaultQueue)), arrived: make(chan struct{}, 1),
	}
	var err error
	if o.store, err = openStore(ctx, &o.config, nil); err != nil {
		return nil, err
	}
	if err := o.cursor.open(c.Dir, o.store.created, o.store.last); err != nil {
		o.store.close()
		return nil, err
	}
	o.newest.Store(o.store.last)
	return o, nil
}

// Add gives an incident to the outbox. It does not wait: false says that too
// many wait for the disk already, and that this one was dropped and counted.
func (o *Outbox) Add(i *incident.Incident) bool {
	o.counts.queued.Add(1)
	select {
	case o.queue <- i:
		return true
	default:
		o.counts.queued.Add(-1)
		o.counts.overflowed.Add(1)
		return false
	}
}

// URL returns where the embedded server takes clients; empty without
// Config.Listen.
func (o *Outbox) URL() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store == nil {
		return ""
	}
	return o.store.server.ClientURL()
}

// write puts what is queued on disk, until it cannot.
func (o *Outbox) write(ctx context.Context) error {
	for {
		if o.hand == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case o.hand = <-o.queue:
			}
		}
		if err := o.put(ctx, o.hand); err != nil {
			return err // it may be stored or not; the id keeps it from being there twice
		}
		o.hand = nil
		o.counts.queued.Add(-1)
	}
}

func (o *Outbox) put(ctx context.Context, i *incident.Incident) error {
	seq, err := o.store.put(ctx, i)
	if errors.Is(err, errUnstorable) {
		o.counts.refused.Add(1)
		o.config.Log.Error().Err(err).Msg("dropping an incident")
		return nil
	}
	if err != nil {
		return err
	}
	o.healthy()
	o.config.Log.Debug().Str("id", i.ID).Uint64("sequence", seq).Msg("stored an incident")
	o.counts.stored.Add(1)
	o.newest.Store(max(seq, o.newest.Load())) // a repeat has its old sequence
	select {
	case o.arrived <- struct{}{}:
	default:
	}
	return nil
}

// waiting is how many are on disk, or were, and not in NATS.
func (o *Outbox) waiting() uint64 {
	next := o.cursor.next.Load()
	return max(o.newest.Load()+1, next) - next
}

// Drain waits until all that was added is on disk, and for at most sending from
// now, while hub is connected, in NATS; or until ctx ends. The error says how many
// are not on disk: what waits there for NATS is not lost.
func (o *Outbox) Drain(ctx context.Context, hub *nats.Conn, sending time.Duration) error {
	began := time.Now()
	for {
		s := o.Status()
		if s.Queued == 0 && (s.Waiting == 0 || !hub.IsConnected() || time.Since(began) > sending) {
			return nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			if s.Queued == 0 {
				return nil
			}
			return fmt.Errorf("storing the last incidents: %d are not on disk: %w", s.Queued, cmp.Or(s.Problem, err))
		}
	}
}

// Close stops the server. Run must have returned.
func (o *Outbox) Close() { o.stop() }

// tellLosses logs once a minute what was lost since.
func (o *Outbox) tellLosses(ctx context.Context) {
	told := uint64(0)
	for sleep(ctx, lossLog) == nil {
		if lost := o.Status().Lost(); lost > told {
			o.config.Log.Error().Uint64("incidents", lost-told).Str("dir", o.config.Dir).
				Msg("incidents were lost: the outbox was full, or could not store; see what keeps NATS away, or give it more --outbox-max-bytes")
			told = lost
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (o *Outbox) sick(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.problem = err
}

func (o *Outbox) healthy() { o.sick(nil) }
