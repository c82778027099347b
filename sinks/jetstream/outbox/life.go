// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// errRest says that the server is not needed for now.
var errRest = errors.New("nothing to store or to send")

// Run stores what is added and forwards it to hub until ctx ends. When the
// server cannot store any more, of a full disk for example, Run starts it
// again until it can. While there is nothing to store or to send, and nobody
// else is served, the server is stopped. Run returns ctx's error.
func (o *Outbox) Run(ctx context.Context, hub *nats.Conn) error {
	var tellers sync.WaitGroup
	defer tellers.Wait()
	tellers.Go(func() { o.tellLosses(ctx) })
	for {
		err := o.serve(ctx, hub)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errRest):
			err = o.rest(ctx)
		default:
			o.sick(err)
			o.config.Log.Error().Err(err).Msg("the outbox cannot store, starting its server again")
			o.stop()
			err = o.restart(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// serve runs on one life of the server, and returns what is wrong with it.
func (o *Outbox) serve(ctx context.Context, hub *nats.Conn) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var workers sync.WaitGroup
	defer workers.Wait()
	workers.Go(func() { end(o.write(ctx)) })
	workers.Go(func() { end(o.forward(ctx, hub)) })
	check := time.NewTicker(min(checkEvery, o.config.RestAfter))
	defer check.Stop()
	var stored uint64 // at the last check
	for busy := time.Now(); ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case now := <-check.C:
			if err := o.store.server.Health(); err != nil {
				end(err)
				continue
			}
			s := o.Status()
			if o.config.Listen != "" || s.Queued > 0 || s.Waiting > 0 || s.Stored != stored {
				busy = now
			} else if now.Sub(busy) >= o.config.RestAfter {
				end(errRest)
			}
			stored = s.Stored
		}
	}
}

// rest stops the server until there is something to store.
func (o *Outbox) rest(ctx context.Context) error {
	lock := o.detach().suspend()
	o.config.Log.Debug().Msg("the outbox rests")
	if o.hand == nil {
		select {
		case <-ctx.Done():
			_ = lock.Close() // nothing is written to it
			return ctx.Err()
		case o.hand = <-o.queue:
		}
	}
	if err := o.start(ctx, lock); err != nil {
		o.failed(ctx, err)
		return o.restart(ctx)
	}
	return nil
}

// detach returns the store, which is nobody else's from then on; nil if there is none.
func (o *Outbox) detach() *store {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.store
	o.store = nil
	return s
}

func (o *Outbox) stop() {
	if s := o.detach(); s != nil {
		s.close()
	}
}

// begin goes on in the stream of s, after the one before was lost with all that
// waited in it.
func (o *Outbox) begin(s *store) error {
	lost := o.waiting()
	if err := o.cursor.open(o.config.Dir, s.created, s.last); err != nil {
		return err
	}
	o.newest.Store(s.last)
	o.counts.dropped.Add(lost)
	o.config.Log.Error().Uint64("incidents", lost).Str("dir", o.config.Dir).Msg("the outbox was removed, with what waited in it: beginning anew")
	return nil
}

// start starts the server again, with its lock or nil.
func (o *Outbox) start(ctx context.Context, lock *os.File) error {
	s, err := openStore(ctx, &o.config, lock)
	if err != nil {
		return err
	}
	if !s.created.Equal(o.cursor.created) {
		if err := o.begin(s); err != nil {
			s.close()
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.store = s
	return nil
}

// restart starts the server again, however long that takes.
func (o *Outbox) restart(ctx context.Context) error {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		err := o.start(ctx, nil)
		if err == nil {
			o.config.Log.Info().Msg("the outbox's server runs again")
			return nil
		}
		o.failed(ctx, err)
	}
}

// failed notes that the server could not be started.
func (o *Outbox) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		o.sick(err)
		o.config.Log.Debug().Err(err).Msg("starting the outbox's server")
	}
}
