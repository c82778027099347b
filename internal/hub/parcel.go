// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/renat-project/renat/internal/hub/delivery"
	"github.com/renat-project/renat/internal/hub/grouping"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/notification"
)

// parcel is a batch on its way. Only one goroutine at a time has it.
type parcel struct {
	batch *grouping.Batch
	// stored says that the batch's state Before is.
	stored bool
}

func (p *parcel) refresh() bool { return p.batch.Notification.Reason == notification.Refresh }

// result is what the goroutine of a parcel found: how the attempt went, or,
// when ended, that its end is stored. failed says that NATS kept it from that.
type result struct {
	job    *delivery.Job[*parcel]
	began  time.Time
	err    error
	ended  bool
	failed error
}

// attempt stores what will be sent and sends it.
func (l *lane) attempt(ctx context.Context, job *delivery.Job[*parcel], refusal error) result {
	p, r := job.Value, result{job: job}
	if !p.stored && !p.refresh() {
		if r.failed = l.put(ctx, p, &p.batch.Before); r.failed != nil {
			return r
		}
		p.stored = true
	}
	r.began = time.Now()
	if refusal != nil {
		r.err = refusal
		return r
	}
	// A copy: what the destination notes counts only when it took it.
	n := p.batch.Notification
	once, cancel := context.WithTimeout(ctx, l.receiver.Timeout)
	defer cancel()
	if r.err = l.receiver.Destination.Send(once, &n); r.err == nil {
		p.batch.After.Memo = n.Memo
	}
	l.metrics.seconds.Observe(time.Since(r.began).Seconds())
	return r
}

// end stores that the notification arrived, or why it never will.
func (l *lane) end(ctx context.Context, job *delivery.Job[*parcel], why error) result {
	p, r := job.Value, result{job: job, ended: true}
	if p.refresh() {
		return r
	}
	for why != nil {
		err := bury(ctx, l.post.dead, undelivered(&p.batch.Notification, why))
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			r.failed = err
			return r
		}
		l.log.Warn().Err(err).Msg("trying again")
		pause(ctx, retryAfter)
	}
	r.failed = l.put(ctx, p, &p.batch.After)
	return r
}

// put stores a state, for as long as it takes.
func (l *lane) put(ctx context.Context, p *parcel, s *grouping.State) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	for {
		revision, err := l.post.states.Put(ctx, l.receiver.Name, p.batch.Key, value, p.batch.Revision)
		if err == nil {
			p.batch.Revision = revision
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, jetstream.ErrStale) {
			return err
		}
		l.log.Warn().Err(err).Msg("trying again")
		pause(ctx, retryAfter)
	}
}

// settle decides what follows from a result. The error says that the lane
// cannot go on: another hub wrote its state, or a write of ours whose answer
// was lost did; reading all again tells.
func (l *lane) settle(ctx context.Context, r result) error {
	l.busy = false
	p := r.job.Value
	n := &p.batch.Notification
	if r.failed != nil {
		return errorFor(n, r.failed)
	}
	if r.ended {
		l.ack(l.groups.Done(p.batch, p.batch.Revision)...)
		// Before the group's next notification, which takes the place of this
		// one in the stored state.
		return l.acknowledge(ctx)
	}
	fate := l.queue.Result(r.job, r.err, r.began, time.Now())
	if p.refresh() && fate != delivery.Delivered {
		// The next refresh says the same.
		if fate == delivery.Again {
			l.queue.Remove(r.job)
		}
		l.log.Debug().Err(errorFor(n, r.err)).Msg("not refreshed")
		fate = delivery.Delivered
		r.err = nil
	}
	switch fate {
	case delivery.Again:
		l.metrics.retried.Inc()
		l.log.Warn().Err(errorFor(n, r.err)).Int("attempt", r.job.Attempts).Msg("not delivered, trying again")
		return nil
	case delivery.Dead:
		l.metrics.dead.Inc()
		l.log.Error().Err(errorFor(n, r.err)).Int("attempts", r.job.Attempts).Msg("given up, put aside in " + jetstream.DeadStream)
	default:
		r.err = nil
		l.metrics.delivered.Inc()
		l.log.Debug().Str("notification", n.ID).Str("reason", string(n.Reason)).Int("incidents", n.Count).Msg("delivered")
	}
	// The state to be stored forgets the group's notification before this one:
	// what of it came again must be acknowledged by then.
	if err := l.acknowledge(ctx); err != nil {
		return err
	}
	l.busy = true
	go func() { l.results <- l.end(ctx, r.job, r.err) }()
	return nil
}
