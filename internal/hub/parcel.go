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
	// untaken says which of several servers did not take what another took.
	untaken error
}

// attempt stores what will be sent and sends it.
func (l *lane) attempt(ctx context.Context, job *delivery.Job[*parcel], refusal error) result {
	p, r := job.Value, result{job: job}
	if !p.stored && !p.refresh() {
		r.failed = l.put(ctx, p, &p.batch.Before)
		for errors.Is(r.failed, jetstream.ErrTooLarge) && p.batch.Shrink() {
			r.failed = l.put(ctx, p, &p.batch.Before)
		}
		if errors.Is(r.failed, jetstream.ErrTooLarge) {
			r.began, r.err, r.failed = time.Now(), notification.Refuse(r.failed), nil
			return r
		}
		if r.failed != nil {
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
		r.untaken = n.Untaken
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
		err := bury(ctx, l.dead, undelivered(&p.batch.Notification, why))
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			r.failed = err
			return r
		}
		if errors.Is(err, jetstream.ErrTooLarge) {
			l.log.Error().Err(errorFor(&p.batch.Notification, err)).Msg("it cannot be put aside either")
			break
		}
		l.wait(ctx, err)
	}
	r.failed = l.put(ctx, p, &p.batch.After)
	if errors.Is(r.failed, jetstream.ErrTooLarge) {
		// Without the sequences it is small. They are acknowledged next.
		p.batch.After.Done = nil
		r.failed = l.put(ctx, p, &p.batch.After)
	}
	return r
}

// put stores a state, for as long as it takes. The error is that of the state,
// or ctx's.
func (l *lane) put(ctx context.Context, p *parcel, s *grouping.State) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	for {
		revision, err := l.states.Put(ctx, l.receiver.Name, p.batch.Key, value, p.batch.Revision)
		if err == nil {
			l.trouble.set(nil)
			p.batch.Revision = revision
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, jetstream.ErrStale) || errors.Is(err, jetstream.ErrTooLarge) {
			return err
		}
		l.wait(ctx, err)
	}
}

// wait says why NATS has to be asked again, and waits before that.
func (l *lane) wait(ctx context.Context, err error) {
	l.trouble.set(err)
	complain(&l.complaints, l.log, err, "trying again")
	pause(ctx, retryAfter)
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
	if l.failing = r.err != nil; !l.failing {
		l.delivered = time.Now()
	}
	fate := l.queue.Result(r.job, r.err, r.began, time.Now())
	if fate == delivery.Delivered {
		l.complain(r.untaken)
	}
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
