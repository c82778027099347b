// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
)

const (
	// ackWait is after how long the server delivers again what is not
	// acknowledged. It is long, as incidents wait for their group; a reader
	// that takes over has its own way (Consumer.claim).
	ackWait = 15 * time.Minute
	// claimWait is ackWait while a reader claims what another one left.
	claimWait = time.Second
	// claimLimit bounds a claim: messages the stream dropped never come.
	claimLimit = 20 * time.Second
	// ackPatience is how long the server may take to confirm acknowledgements.
	ackPatience = 5 * time.Second
	// pullMessages and pullBytes bound what is on its way to the reader.
	pullMessages = 500
	pullBytes    = 16 << 20
)

// ErrConsumerGone says that the consumer or its stream was removed.
var ErrConsumerGone = errors.New("consumer does not exist any more")

// ConsumerConfig is what a Consumer needs.
type ConsumerConfig struct {
	// Name of the durable consumer: letters, digits, "-" and "_".
	Name string
	// Since is where a consumer begins that does not exist yet: with what was
	// stored at this time or later.
	Since time.Time
	// MaxPending is how many incidents may be unacknowledged.
	MaxPending int
}

// Delivery is a message of the stream that waits for its acknowledgement.
type Delivery struct {
	Sequence uint64
	Subject  string
	Data     []byte
	// Ack is what Consumer.Ack wants to have for it.
	Ack string
	// Again says that the server delivered it before.
	Again bool
}

// Consumer reads the stream from where all of its readers got to, one reader
// at a time. Run belongs to one goroutine, everything else is safe for
// concurrent use.
type Consumer struct {
	nc       *nats.Conn
	js       natsjs.JetStream
	consumer natsjs.Consumer
	created  time.Time

	// owed is how many messages of sequences up to owedTo an earlier reader
	// left; 0: none, or all have come.
	owed   int
	owedTo uint64
}

// OpenConsumer opens the durable consumer of the name, or creates it. The
// stream must exist. What an earlier reader left unacknowledged comes first,
// within about two seconds.
func OpenConsumer(ctx context.Context, nc *nats.Conn, c ConsumerConfig) (*Consumer, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	info, err := streamInfo(ctx, js)
	if err != nil {
		return nil, fmt.Errorf("opening consumer %s: %w", c.Name, explain(err))
	}
	o := &Consumer{nc: nc, js: js, created: info.Created}
	o.consumer, err = js.Consumer(ctx, Stream, c.Name)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		o.consumer, err = js.CreateConsumer(ctx, Stream, natsjs.ConsumerConfig{
			Durable:           c.Name,
			Description:       "renat hub",
			DeliverPolicy:     natsjs.DeliverByStartTimePolicy,
			OptStartTime:      &c.Since,
			AckPolicy:         natsjs.AckExplicitPolicy,
			AckWait:           ackWait,
			MaxAckPending:     c.MaxPending,
			FilterSubject:     incident.AllSubjects,
			InactiveThreshold: DefaultMaxAge,
		})
	} else if err == nil {
		err = o.claim(ctx, c.MaxPending)
	}
	if err != nil {
		return nil, fmt.Errorf("opening consumer %s: %w", c.Name, explain(err))
	}
	return o, nil
}

// claim makes the server deliver again what an earlier reader, which may have
// been killed, did not acknowledge: a change of the wait takes effect on those
// too (nats-server, consumer.go, updateConfig and checkPending).
func (o *Consumer) claim(ctx context.Context, maxPending int) error {
	info := o.consumer.CachedInfo()
	o.owed, o.owedTo = info.NumAckPending, info.Delivered.Stream
	wait := ackWait
	if o.owed > 0 {
		wait = claimWait
	}
	return o.setWait(ctx, wait, maxPending)
}

func (o *Consumer) setWait(ctx context.Context, wait time.Duration, maxPending int) error {
	config := o.consumer.CachedInfo().Config
	config.AckWait, config.MaxAckPending = wait, maxPending
	updated, err := o.js.UpdateConsumer(ctx, Stream, config)
	if err == nil {
		o.consumer = updated
	}
	return err
}

// Created is when the stream was made: a sequence means something only together with it.
func (o *Consumer) Created() time.Time { return o.created }

// Run calls each with every message until ctx ends or each fails, and returns
// that error, or ErrConsumerGone. A message comes again when it was not
// acknowledged for long, or when it was and the server restarted just then.
func (o *Consumer) Run(ctx context.Context, each func(Delivery) error) error {
	claimed := map[uint64]struct{}{}
	limit := time.Now().Add(claimLimit)
	for {
		err := o.pass(ctx, func(d Delivery) error {
			if err := each(d); err != nil {
				return err
			}
			if o.owed == 0 {
				return nil
			}
			if d.Again && d.Sequence <= o.owedTo {
				claimed[d.Sequence] = struct{}{}
			}
			if len(claimed) >= o.owed || time.Now().After(limit) {
				if o.setWait(ctx, ackWait, o.consumer.CachedInfo().Config.MaxAckPending) == nil {
					o.owed, claimed = 0, nil
				} else {
					limit = time.Now() // the next message tries again
				}
			}
			return nil
		})
		var failed stop
		switch {
		case errors.As(err, &failed):
			return failed.error
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, natsjs.ErrConsumerDeleted), errors.Is(err, natsjs.ErrConsumerNotFound), errors.Is(err, nats.ErrNoResponders) && o.isGone(ctx):
			return ErrConsumerGone
		case errors.Is(err, nats.ErrConnectionClosed):
			return err
		case errors.Is(err, natsjs.ErrNoHeartbeat) && o.isGone(ctx):
			return ErrConsumerGone
		}
		if err := sleep(ctx, retryPause); err != nil {
			return err
		}
	}
}

// stop is an error of the callback, which ends a Run.
type stop struct{ error }

func (o *Consumer) isGone(ctx context.Context) bool {
	_, err := o.js.Consumer(ctx, Stream, o.consumer.CachedInfo().Name)
	return errors.Is(err, natsjs.ErrConsumerNotFound) || errors.Is(err, natsjs.ErrStreamNotFound)
}

func (o *Consumer) pass(ctx context.Context, each func(Delivery) error) error {
	it, err := o.consumer.Messages(natsjs.PullMaxMessagesWithBytesLimit(pullMessages, pullBytes),
		natsjs.PullExpiry(pullExpiry), natsjs.PullHeartbeat(heartbeat), natsjs.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		m, err := it.Next(natsjs.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		err = each(Delivery{
			Sequence: meta.Sequence.Stream, Subject: m.Subject(), Data: m.Data(),
			Ack: m.Reply(), Again: meta.NumDelivered > 1,
		})
		if err != nil {
			return stop{err}
		}
	}
}

// Ack acknowledges messages and returns when the server has taken it to heart.
// After an error some may be acknowledged; doing it again does no harm.
func (o *Consumer) Ack(ctx context.Context, acks []string) error {
	if len(acks) == 0 {
		return nil
	}
	for _, a := range acks[:len(acks)-1] {
		if err := o.nc.Publish(a, ackBody); err != nil {
			return fmt.Errorf("acknowledging %d incidents: %w", len(acks), err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ackPatience)
	defer cancel()
	// The server takes them in order, and answers for the last.
	if _, err := o.nc.RequestWithContext(ctx, acks[len(acks)-1], ackBody); err != nil {
		return fmt.Errorf("acknowledging %d incidents: %w", len(acks), explain(err))
	}
	return nil
}

var ackBody = []byte("+ACK")
