// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/internal/hub/delivery"
	"github.com/renat-project/renat/internal/hub/grouping"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/notification"
)

const (
	// ackBatch acknowledgements are sent at once, fewer after ackAfter.
	ackBatch = 500
	ackAfter = 50 * time.Millisecond
	// inbox is how many decoded incidents wait for the lane.
	inbox = 64
)

// lane is the way from the stream to one receiver. Its goroutine owns all of
// it but for one notification at a time, which another goroutine sends.
type lane struct {
	receiver *config.Receiver
	config   Config
	metrics  laneMetrics
	log      zerolog.Logger
	trouble  trouble
	asked    chan chan Lane
	// complaints are those about NATS.
	complaints jetstream.Complaints

	consumer *jetstream.Consumer
	states   *jetstream.States
	dead     *jetstream.DeadLetters
	// progress is the revision of how far the consumer's readers got; 0: nothing
	// is stored.
	progress uint64
	groups   *grouping.Grouper
	queue    *delivery.Queue[*parcel]
	// results takes what the goroutine of the parcel on its way found; busy
	// says that there is one.
	results chan result
	busy    bool
	// partly says that some of the receiver's servers do not take what others do.
	partly bool
	// settled says that what an earlier lane left has come: until then no
	// notification is made, lest one of later incidents comes before.
	settled bool
	// acks are to be sent, the oldest of them since ackSince.
	acks     []string
	ackSince time.Time
	// delivered is when the receiver last took a notification, and failing says
	// that it did not take the last one that was tried.
	delivered time.Time
	failing   bool
}

func newLane(r *config.Receiver, c Config, m laneMetrics) *lane {
	l := &lane{receiver: r, config: c, metrics: m, log: c.Log.With().Str("receiver", r.Name).Logger(), asked: make(chan chan Lane)}
	l.trouble.set(errors.New("starting"))
	return l
}

// run delivers until ctx ends, at once, or stop is closed: then the
// notification that is on its way arrives first, or fails.
func (l *lane) run(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := l.open(ctx); err != nil {
		return err
	}
	messages, failed := make(chan message, inbox), make(chan error, 1)
	intake, endIntake := context.WithCancel(ctx)
	intakeEnded := make(chan struct{})
	go func() {
		defer close(intakeEnded)
		failed <- l.consumer.Run(intake, func(d jetstream.Delivery) error { return pass(intake, messages, d) })
	}()
	defer func() {
		endIntake()
		<-intakeEnded
		if l.busy { // when something else failed
			cancel()
			<-l.results
		}
	}()
	l.trouble.set(nil)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.act(ctx, timer)
		if len(l.acks) >= ackBatch || len(l.acks) > 0 && time.Since(l.ackSince) >= ackAfter {
			if err := l.acknowledge(ctx); err != nil {
				return err
			}
		}
		select {
		case m := <-messages:
			l.take(ctx, m)
		case r := <-l.results:
			if err := l.settle(ctx, r); err != nil {
				return err
			}
		case answer := <-l.asked:
			answer <- l.describe()
		case <-timer.C:
		case err := <-failed:
			l.finish(ctx)
			return err
		case <-stop:
			l.finish(ctx)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// consumerOf names the durable consumer of a receiver.
func consumerOf(receiver string) string { return "renat-hub-" + receiver }

// open prepares the lane to go on where the last one stopped.
func (l *lane) open(ctx context.Context) error {
	r, c := l.receiver, l.config
	err := ensureStream(ctx, c)
	if err != nil {
		return err
	}
	if l.states, err = jetstream.OpenStates(ctx, c.NATS, c.Replicas); err != nil {
		return err
	}
	if l.dead, err = jetstream.OpenDeadLetters(ctx, c.NATS, c.Replicas); err != nil {
		return err
	}
	states, err := l.states.Load(ctx, r.Name)
	if err != nil {
		return err
	}
	l.acks = nil
	before := l.restoreProgress(states)
	l.consumer, err = jetstream.OpenConsumer(ctx, c.NATS, jetstream.ConsumerConfig{
		Name: consumerOf(r.Name), Since: time.Now().Add(-r.Since), MaxPending: r.Rule.MaxPending, Before: before,
	})
	if err != nil {
		return err
	}
	const others = "stream " + jetstream.Stream + " takes other subjects than incidents', too: incidents that it drops before the hub reads them are not counted; move the others to a stream of their own"
	if !l.consumer.CountsDrops() && l.complaints.Due(others) {
		l.log.Warn().Msg(others)
	}
	if !before.Stream.Equal(l.consumer.Created()) {
		if err := l.storeProgress(ctx); err != nil {
			return err
		}
	}
	l.groups = grouping.New(r.Rule, l.consumer.Created())
	l.queue = delivery.New[*parcel](r.Policy)
	l.results, l.busy, l.settled = make(chan result, 1), false, false
	for key, stored := range states {
		var s grouping.State
		if err := json.Unmarshal(stored.Value, &s); err != nil {
			l.log.Warn().Str("group", key).Err(err).Msg("forgetting a group whose state cannot be read")
			continue
		}
		b, ok := l.groups.Restore(s, stored.Revision)
		if !ok {
			// It was grouped by other labels. What was on its way then was not
			// acknowledged, and will be grouped anew.
			if err := l.states.Delete(ctx, r.Name, key, stored.Revision); err != nil {
				return err
			}
		} else if b != nil {
			l.queue.Push(&parcel{batch: b, stored: true})
		}
	}
	return nil
}

// message is a delivery, decoded.
type message struct {
	jetstream.Delivery
	incident *incident.Incident
	err      error
}

func pass(ctx context.Context, to chan<- message, d jetstream.Delivery) error {
	m := message{Delivery: d}
	if d.Mark == jetstream.Message {
		if m.incident, m.err = incident.UnmarshalCloudEvent(d.Data); m.err == nil {
			m.Data = nil
		}
	}
	select {
	case to <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take groups a message, or buries one that is no incident.
func (l *lane) take(ctx context.Context, m message) {
	if n := m.Missed.Len() - l.told(m.Missed); n > 0 {
		l.metrics.dropped.Add(float64(n))
		l.log.Error().Uint64("incidents", n).Msg("incidents left stream " + jetstream.Stream + " before the hub could read them: nobody is notified; give it more bytes, or time")
	}
	if m.Mark != jetstream.Message {
		l.settled = m.Mark == jetstream.Settled
		return
	}
	if m.err == nil {
		var fate grouping.Fate
		fate, m.err = l.groups.Add(time.Now(), grouping.Message{Sequence: m.Sequence, Ack: m.Ack, Incident: m.incident})
		if m.err == nil {
			l.metrics.incident(fate)
			if fate != grouping.Held {
				l.ack(m.Ack)
			}
			return
		}
	}
	l.metrics.garbled.Inc()
	if err := bury(ctx, l.dead, unreadable(l.consumer.Created(), m)); err != nil {
		// Not acknowledged: it comes again.
		l.log.Error().Uint64("sequence", m.Sequence).AnErr("because", m.err).Err(err).Msg("a message that is no incident could not be put aside")
		return
	}
	l.log.Warn().Uint64("sequence", m.Sequence).Err(m.err).Msg("a message that is no incident is put aside in " + jetstream.DeadStream)
	l.ack(m.Ack)
}

// act does what is due and sets the timer to when there may be more.
func (l *lane) act(ctx context.Context, timer *time.Timer) {
	now := time.Now()
	for l.settled {
		w, ok := l.groups.Take(now)
		if !ok {
			break
		}
		switch {
		case w.Batch != nil:
			l.queue.Push(&parcel{batch: w.Batch})
		case w.Forget != nil:
			if err := l.states.Delete(ctx, l.receiver.Name, w.Forget.Key, w.Forget.Revision); err != nil {
				l.log.Debug().Err(err).Msg("forgetting a group") // it expires
			}
		default:
			l.metrics.below.Add(float64(len(w.Acks)))
			l.ack(w.Acks...)
		}
	}
	wait := time.Duration(-1)
	if !l.busy {
		var job *delivery.Job[*parcel]
		if job, wait = l.queue.Next(now); job != nil {
			l.busy = true
			refusal := l.queue.Refusal()
			go func() { l.results <- l.attempt(ctx, job, refusal) }()
			wait = -1
		} else if wait == 0 {
			wait = -1
		}
	}
	if at, ok := l.groups.Next(); ok && l.settled && (wait < 0 || at.Sub(now) < wait) {
		wait = max(at.Sub(now), 0)
	}
	if wait < 0 {
		wait = time.Hour
	}
	if len(l.acks) > 0 {
		wait = min(wait, ackAfter)
	}
	timer.Reset(wait)
	l.metrics.state(l.groups, l.queue)
}

// complain counts what only some of the receiver's servers took, and logs when
// that begins and ends.
func (l *lane) complain(untaken error) {
	if untaken != nil {
		l.metrics.partly.Inc()
	}
	if partly := untaken != nil; partly != l.partly {
		l.partly = partly
		if !partly {
			l.log.Info().Msg("all servers take notifications again")
			return
		}
		l.log.Warn().Err(untaken).Msg("delivered, but not every server took it")
	}
}

// ack notes what is to be acknowledged.
func (l *lane) ack(acks ...string) {
	if len(l.acks) == 0 {
		l.ackSince = time.Now()
	}
	l.acks = append(l.acks, acks...)
}

// acknowledge sends what is to be acknowledged. After an error it is not known
// what was, and the lane has to begin anew.
func (l *lane) acknowledge(ctx context.Context) error {
	if len(l.acks) == 0 {
		return nil
	}
	err := l.storeProgress(ctx)
	if err == nil {
		err = l.consumer.Ack(ctx, l.acks)
	}
	l.acks = nil
	return err
}

// finish waits for the parcel that is on its way, at most endWithin.
func (l *lane) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	for l.busy {
		select {
		case r := <-l.results:
			if err := l.settle(ctx, r); err != nil {
				l.log.Warn().Err(err).Msg("stopping")
				return
			}
		case <-ctx.Done():
			return
		}
	}
	if err := l.acknowledge(ctx); err != nil {
		l.log.Warn().Err(err).Msg("incidents will come again, and are known then")
	}
}

// Lane is a receiver as the hub sees it.
type Lane struct {
	Receiver string           `json:"receiver"`
	Circuit  delivery.Circuit `json:"circuit"`
	Queued   int              `json:"queued"`
	Pending  int              `json:"pending"`
	// Delivered is when it last took a notification.
	Delivered time.Time       `json:"delivered,omitzero"`
	Groups    []grouping.Info `json:"groups"`

	failing bool
}

func (l *lane) describe() Lane {
	return Lane{
		Receiver: l.receiver.Name, Circuit: l.queue.Circuit(), Queued: l.queue.Len(),
		Pending: l.groups.Held(), Delivered: l.delivered, failing: l.failing, Groups: l.groups.Infos(),
	}
}

// errorFor names the notification.
func errorFor(n *notification.Notification, err error) error {
	return fmt.Errorf("notification %s: %w", n.ID, err)
}
