// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/renat-project/renat/sinks/jetstream"
)

// hubWait is how long NATS may take for one incident.
const hubWait = 5 * time.Second

// forwarder sends what is stored to NATS, in order, one after the other.
type forwarder struct {
	*Outbox
	hub *nats.Conn
	// fresh relies on NATS' memory for ids, careful looks into the stream too.
	fresh, careful *jetstream.Publisher
	// next is the sequence to take next; all before it were sent, or are in
	// hand, or were dropped and counted.
	next uint64
}

// forward runs a forwarder until ctx ends, and returns what is wrong with the
// store. What is wrong with NATS passes, or not: it goes on trying.
func (o *Outbox) forward(ctx context.Context, hub *nats.Conn) error {
	f := forwarder{Outbox: o, hub: hub, next: o.cursor.next.Load()}
	var err error
	if f.fresh, err = jetstream.NewPublisher(hub, jetstream.PublisherConfig{Stream: o.config.Stream}); err != nil {
		return err
	}
	defer f.fresh.Close()
	defer f.forgetOld()
	for {
		it, err := f.take(ctx)
		if errors.Is(err, errEnd) {
			// NATS has all there is; the next backlog is a new question.
			f.forgetOld()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-o.arrived:
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := f.deliver(ctx, it); err != nil {
			return err
		}
		if err := o.cursor.move(it.seq + 1); err != nil {
			o.config.Log.Warn().Err(err).Msg("what was forwarded may be sent again after a restart; NATS will know it")
		}
	}
}

// take returns the next incident to send, or errEnd. It counts those that were
// dropped before they could be.
func (f *forwarder) take(ctx context.Context) (item, error) {
	it, err := f.store.next(ctx, f.next)
	if err != nil {
		return it, err
	}
	f.counts.dropped.Add(it.seq - f.next)
	f.next = it.seq + 1
	return it, nil
}

// deliver returns when NATS has confirmed an item, or never will. Only ctx and
// a sick store end it before.
func (f *forwarder) deliver(ctx context.Context, it item) error {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := f.send(ctx, it)
		if err == nil || jetstream.Permanent(err) {
			f.failing(nil)
			f.count(it, err)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.failing(err)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		if err := f.countDropped(ctx); err != nil {
			return err
		}
	}
}

func (f *forwarder) send(ctx context.Context, it item) error {
	if it.err != nil {
		return nil // see count
	}
	if !f.hub.IsConnected() {
		return errors.New("not connected to NATS")
	}
	ctx, cancel := context.WithTimeout(ctx, hubWait)
	defer cancel()
	window, err := f.fresh.Window(ctx)
	if err != nil {
		return err
	}
	p := f.fresh
	// It may have been sent before, as early as it was stored, and have
	// outlived NATS' memory for ids: then the stream is looked through. Half of
	// that time is for clocks that differ; one that was set back tells no age.
	if age := time.Since(it.at); age < 0 || age > window/2 {
		if f.careful == nil {
			if f.careful, err = jetstream.NewPublisher(f.hub, jetstream.PublisherConfig{Stream: f.config.Stream, SkipStored: true}); err != nil {
				return err
			}
		}
		p = f.careful
	}
	_, err = p.Send(ctx, it.incident)
	return err
}

func (f *forwarder) count(it item, err error) {
	if err = cmp.Or(it.err, err); err == nil {
		f.counts.forwarded.Add(1)
		return
	}
	f.counts.refused.Add(1)
	f.config.Log.Error().Err(err).Uint64("sequence", it.seq).Msg("NATS can never take this incident: leaving it out")
}

// countDropped sees, while NATS is away, what the outbox had no room for.
func (f *forwarder) countDropped(ctx context.Context) error {
	it, err := f.store.next(ctx, f.next)
	if errors.Is(err, errEnd) {
		return nil
	}
	if err == nil {
		f.counts.dropped.Add(it.seq - f.next)
		f.next = it.seq
	}
	return err
}

// forgetOld frees what was read from the stream for a backlog.
func (f *forwarder) forgetOld() {
	if f.careful != nil {
		f.careful.Close()
		f.careful = nil
	}
}

// failing notes why NATS does not take incidents, and logs it when it changes.
func (o *Outbox) failing(err error) {
	o.mu.Lock()
	before := o.unsent
	o.unsent = err
	o.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		o.config.Log.Warn().Err(err).Msg("incidents stay in the outbox")
	case err == nil && before != nil:
		o.config.Log.Info().Msg("NATS takes incidents again")
	}
}
