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
	// claimHaste is for how long it is: the server delivers all again then, and
	// would deliver them again and again, each second, to a reader that needs
	// longer for them.
	claimHaste = claimWait + 200*time.Millisecond
	// claimQuiet is after how long without a message that is new to a claim it
	// is asked again what is owed: a reader that was suspended, or cut off, may
	// have acknowledged some since.
	claimQuiet = 3 * claimWait
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
	// Since is where the first consumer of the name begins: with what was stored at
	// this time or later.
	Since time.Time
	// MaxPending is how many incidents may be unacknowledged.
	MaxPending int
	// Before is how far the readers got that there were; zero: not known. There a
	// consumer goes on that somebody removed.
	Before Progress
}

// Mark is what a Delivery without a message says.
type Mark int

const (
	// Message says nothing: there is one.
	Message Mark = iota
	// Claiming says that what an earlier reader left is coming, in no order.
	Claiming
	// Settled says that all that was left has come. What comes now is in order.
	Settled
)

// Delivery is a message of the stream that waits for its acknowledgement.
type Delivery struct {
	Mark     Mark
	Sequence uint64
	Subject  string
	Data     []byte
	// Ack is what Consumer.Ack wants to have for it.
	Ack string
	// Again says that the server delivered it before.
	Again bool
	// Missed are those that left the stream, full or for their age, before they
	// could be delivered, or before what an earlier reader had of them could be
	// delivered again. With Message or Settled. In a stream with other subjects
	// beside those of incidents only the latter can be told.
	Missed Spans
}

// Consumer reads the stream from where all of its readers got to, one reader
// at a time. Run belongs to one goroutine, everything else is safe for
// concurrent use.
type Consumer struct {
	nc       *nats.Conn
	js       natsjs.JetStream
	config   ConsumerConfig
	consumer natsjs.Consumer
	created  time.Time
	// alone says that the stream has nothing but incidents; then every sequence
	// is to be delivered.
	alone   bool
	reading reading
	// removed is how far the readers got of a consumer that somebody removed.
	removed Progress

	// owed is how many messages of sequences up to owedTo an earlier reader
	// left; 0: none, or all have come. claimed are those that have, the last of
	// them at grew, and limit is how long to wait for them.
	owed    int
	owedTo  uint64
	claimed map[uint64]struct{}
	grew    time.Time
	limit   time.Time
	// calm is when the wait is to be long again, zero: it is.
	calm time.Time
	// reclaim is when to see whether to claim once more, zero: never. asked is
	// what the server had sent when it was asked that, 0: it was not.
	reclaim time.Time
	asked   uint64
}

// OpenConsumer opens the durable consumer of the name, or creates it. The
// stream must exist. What an earlier reader left unacknowledged comes first,
// within about two seconds.
func OpenConsumer(ctx context.Context, nc *nats.Conn, c ConsumerConfig) (*Consumer, error) {
	js := open(nc)
	info, err := streamInfo(ctx, js)
	if err != nil {
		return nil, fmt.Errorf("opening consumer %s: %w", c.Name, explain(err))
	}
	o := &Consumer{nc: nc, js: js, config: c, created: info.Created, alone: len(otherSubjects(info.Config.Subjects)) == 0}
	o.consumer, err = js.Consumer(ctx, Stream, c.Name)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		settings := natsjs.ConsumerConfig{
			Durable:           c.Name,
			Description:       "renat hub",
			DeliverPolicy:     natsjs.DeliverByStartTimePolicy,
			OptStartTime:      &c.Since,
			AckPolicy:         natsjs.AckExplicitPolicy,
			AckWait:           ackWait,
			MaxAckPending:     c.MaxPending,
			FilterSubject:     incident.AllSubjects,
			InactiveThreshold: DefaultMaxAge,
		}
		if c.Before.Stream.Equal(o.created) {
			o.removed = c.Before
			settings.DeliverPolicy, settings.OptStartTime, settings.OptStartSeq = natsjs.DeliverByStartSequencePolicy, nil, c.Before.next()
		}
		if o.consumer, err = js.CreateConsumer(ctx, Stream, settings); err == nil {
			o.begin(c.Before)
		}
	} else if err == nil {
		o.begin(c.Before)
		if err = o.claim(ctx); o.owed > 0 {
			// While the server has not noticed that the earlier reader's machine
			// is gone, it answers its last request for messages.
			o.reclaim = time.Now().Add(pullExpiry + heartbeat)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening consumer %s: %w", c.Name, explain(err))
	}
	return o, nil
}

// begin begins after what readers before had, or what the server knows to be
// acknowledged.
func (o *Consumer) begin(before Progress) {
	if !before.Stream.Equal(o.created) {
		before = Progress{Stream: o.created, Through: o.consumer.CachedInfo().AckFloor.Stream}
	}
	o.reading.resume(before)
}

// Progress returns how far the reader is when it has acknowledged all it did,
// and acks. It is to be stored before they are acknowledged.
func (o *Consumer) Progress(acks []string) Progress { return o.reading.settle(acks) }

func (o *Consumer) update(ctx context.Context, wait time.Duration, maxPending int) error {
	config := o.consumer.CachedInfo().Config
	config.AckWait, config.MaxAckPending = wait, maxPending
	updated, err := o.js.UpdateConsumer(ctx, Stream, config)
	if err == nil {
		o.consumer = updated
	}
	return err
}

// CountsDrops reports whether Missed tells all that left the stream undelivered,
// which it cannot where the stream takes other subjects, too.
func (o *Consumer) CountsDrops() bool { return o.alone }

// Created is when the stream was made: a sequence means something only together with it.
func (o *Consumer) Created() time.Time { return o.created }

// Run calls each with every message until ctx ends or each fails, and returns
// that error, or ErrConsumerGone, or what keeps the server for long from
// letting it read. A message comes again when it was not
// acknowledged for long, or when it was and the server restarted just then.
//
// Marks come before what they tell of, the first of them first of all.
func (o *Consumer) Run(ctx context.Context, each func(Delivery) error) error {
	for {
		err := o.pass(ctx, each)
		var failed stop
		switch {
		case errors.As(err, &failed):
			return failed.error
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, natsjs.ErrConsumerDeleted), errors.Is(err, natsjs.ErrConsumerNotFound):
			return ErrConsumerGone
		case errors.Is(err, nats.ErrConnectionClosed):
			return err
		}
		// What was on its way to us is lost, as if to an earlier reader.
		for failing := time.Now(); err != nil; {
			if time.Since(failing) > patience {
				return fmt.Errorf("reading stream %s: %w", Stream, explain(err))
			}
			if err := sleep(ctx, retryPause); err != nil {
				return err
			}
			err = o.claim(ctx)
			if errors.Is(err, natsjs.ErrConsumerNotFound) || errors.Is(err, natsjs.ErrStreamNotFound) || errors.Is(err, natsjs.ErrConsumerDoesNotExist) {
				return ErrConsumerGone
			}
			if errors.Is(err, nats.ErrConnectionClosed) {
				return err
			}
		}
	}
}

// stop is an error of the callback, which ends a Run.
type stop struct{ error }

// pass reads with one subscription until it fails.
func (o *Consumer) pass(ctx context.Context, each func(Delivery) error) error {
	it, err := o.consumer.Messages(natsjs.PullMaxMessagesWithBytesLimit(pullMessages, pullBytes),
		natsjs.PullExpiry(pullExpiry), natsjs.PullHeartbeat(heartbeat), natsjs.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer it.Stop()
	if err := o.mark(ctx, each); err != nil {
		return err
	}
	for {
		if err := o.turn(ctx, it, each); err != nil {
			return err
		}
	}
}

// turn ends or begins a claim, if it is time, and passes on a message.
func (o *Consumer) turn(ctx context.Context, it natsjs.MessagesContext, each func(Delivery) error) error {
	if err := o.endClaim(ctx, each); err != nil {
		return err
	}
	if !o.calm.IsZero() && len(o.claimed) > 0 && time.Now().After(o.calm) {
		if err := o.update(ctx, ackWait, 1); err != nil {
			return err
		}
		o.calm = time.Time{}
	}
	due := !o.reclaim.IsZero() && o.owed == 0 && time.Now().After(o.reclaim)
	if due {
		var err error
		if due, err = o.astray(ctx); err != nil {
			return err
		}
	}
	if due || o.owed > 0 && time.Since(o.grew) > claimQuiet {
		limit := o.limit
		if err := o.claim(ctx); err != nil {
			return err
		}
		if !due {
			o.limit = limit
		}
		if err := o.mark(ctx, each); err != nil {
			return err
		}
	}
	m, err := o.next(ctx, it)
	if err != nil || m == nil {
		return err
	}
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	if o.removed.acknowledged(meta.Sequence.Stream) {
		return o.nc.Publish(m.Reply(), ackBody) // should that get lost, it comes again
	}
	d := Delivery{Sequence: meta.Sequence.Stream, Subject: m.Subject(), Data: m.Data(), Ack: m.Reply(), Again: meta.NumDelivered > 1}
	if o.reading.came(d.Sequence, o.alone) {
		if d.Missed, err = o.lost(ctx, false); err != nil {
			return err
		}
	}
	if o.owed > 0 && d.Again && d.Sequence <= o.owedTo {
		if _, ok := o.claimed[d.Sequence]; !ok {
			o.claimed[d.Sequence], o.grew = struct{}{}, time.Now()
		}
	}
	if err := each(d); err != nil {
		return stop{err}
	}
	return nil
}

// next returns the next message; while there is a time to look at, nil after a
// silence.
func (o *Consumer) next(ctx context.Context, it natsjs.MessagesContext) (natsjs.Msg, error) {
	if o.owed == 0 && o.reclaim.IsZero() {
		return it.Next(natsjs.NextContext(ctx))
	}
	short, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	m, err := it.Next(natsjs.NextContext(short))
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return m, err
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
