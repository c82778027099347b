// SPDX-License-Identifier: Apache-2.0

// Package delivery decides when which notification is sent to a destination,
// and when it is given up: backoff, rate limit and circuit. It is pure: no
// I/O, no clock, no goroutine; time is given. A Queue belongs to one goroutine.
package delivery

import (
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/renat-project/renat/sinks/notification"
)

// The defaults of a Policy, and what it does not let one choose.
const (
	// DefaultGiveUp is how long a notification is tried.
	DefaultGiveUp = time.Hour

	// backoff before the second attempt; it doubles up to maxBackoff.
	backoff    = time.Second
	maxBackoff = 5 * time.Minute
	// opensAfter so many failures in a row, of whatever notifications, the
	// circuit opens: nothing is sent for coolDown, doubling up to
	// maxCoolDown, and then one to see.
	opensAfter  = 5
	coolDown    = 5 * time.Second
	maxCoolDown = 2 * time.Minute
)

// Policy is how a destination is treated.
type Policy struct {
	// GiveUp a notification that has been tried for so long.
	GiveUp time.Duration
	// PerSecond notifications at most, Burst of them at once.
	PerSecond float64
	Burst     int
	// Random returns a number in [0,1); nil: math/rand.
	Random func() float64
}

// Job is a notification in a Queue.
type Job[T any] struct {
	Value T
	// Attempts so far.
	Attempts int
	began    time.Time
	after    time.Time
}

// Fate is what becomes of a job.
type Fate int

// The fates.
const (
	// Delivered: the destination has it.
	Delivered Fate = iota
	// Again: the job is back in the queue.
	Again
	// Dead: the destination will not have it.
	Dead
)

// Circuit is the state of a destination.
type Circuit string

// The states.
const (
	Closed Circuit = "closed" // in use
	Open   Circuit = "open"   // not in use for a time
	Ended  Circuit = "gone"   // the destination wants nothing any more
)

// Queue holds the jobs of one destination.
type Queue[T any] struct {
	policy   Policy
	limit    *rate.Limiter
	jobs     []*Job[T] // in the order in which they came
	failures int
	// paused until the destination may be used again.
	paused time.Time
	gone   error
}

// New returns an empty queue.
func New[T any](p Policy) *Queue[T] {
	if p.Random == nil {
		p.Random = rand.Float64
	}
	return &Queue[T]{policy: p, limit: rate.NewLimiter(rate.Limit(p.PerSecond), p.Burst)}
}

// Len is how many jobs wait.
func (q *Queue[T]) Len() int { return len(q.jobs) }

// Circuit is the destination's state.
func (q *Queue[T]) Circuit() Circuit {
	switch {
	case q.gone != nil:
		return Ended
	case q.failures >= opensAfter:
		return Open
	}
	return Closed
}

// Push adds a job.
func (q *Queue[T]) Push(v T) { q.jobs = append(q.jobs, &Job[T]{Value: v}) }

// Next returns the job to do at now, which then is the caller's until it calls
// Result. Without one, wait is how long until there may be; 0: not before a Push.
func (q *Queue[T]) Next(now time.Time) (job *Job[T], wait time.Duration) {
	if len(q.jobs) == 0 {
		return nil, 0
	}
	if d := q.paused.Sub(now); d > 0 && q.gone == nil {
		return nil, d
	}
	first := q.jobs[0].after
	for n, j := range q.jobs {
		if j.after.After(now) {
			if j.after.Before(first) {
				first = j.after
			}
			continue
		}
		if q.gone == nil {
			r := q.limit.ReserveN(now, 1)
			if d := r.DelayFrom(now); d > 0 {
				r.CancelAt(now)
				return nil, d
			}
		}
		q.jobs = slices.Delete(q.jobs, n, n+1)
		return j, 0
	}
	return nil, first.Sub(now)
}

// Refusal returns why the destination takes nothing, nil if it may.
func (q *Queue[T]) Refusal() error { return q.gone }

// Result says how the job went: err is the destination's, of an attempt that
// began and ended at these times.
func (q *Queue[T]) Result(j *Job[T], err error, began, now time.Time) Fate {
	j.Attempts++
	if j.began.IsZero() {
		j.began = began
	}
	switch {
	case err == nil:
		q.failures = 0
		return Delivered
	case notification.Gone(err):
		q.gone = err
		return Dead
	case notification.Permanent(err):
		q.failures = 0 // it answers
		return Dead
	}
	if after := notification.RetryAfter(err); after > 0 {
		q.pause(now.Add(after))
	} else if q.failures++; q.failures >= opensAfter {
		q.pause(now.Add(q.jitter(double(coolDown, q.failures-opensAfter, maxCoolDown))))
	}
	if now.Sub(j.began) >= q.policy.GiveUp {
		return Dead
	}
	j.after = now.Add(q.jitter(double(backoff, j.Attempts-1, maxBackoff)))
	q.jobs = slices.Insert(q.jobs, 0, j) // what is older goes first when several may
	return Again
}

// Remove takes a job out of the queue.
func (q *Queue[T]) Remove(j *Job[T]) {
	q.jobs = slices.DeleteFunc(q.jobs, func(k *Job[T]) bool { return k == j })
}

func (q *Queue[T]) pause(until time.Time) {
	if until.After(q.paused) {
		q.paused = until
	}
}

// double returns d doubled n times, at most limit.
func double(d time.Duration, n int, limit time.Duration) time.Duration {
	for ; n > 0 && d < limit; n-- {
		d *= 2
	}
	return min(d, limit)
}

// jitter returns between half of d and d.
func (q *Queue[T]) jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(q.policy.Random()*float64(d/2))
}
