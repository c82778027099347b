// SPDX-License-Identifier: Apache-2.0

package delivery_test

import (
	"errors"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/hub/delivery"
	"github.com/renat-project/renat/sinks/notification"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var errFails = errors.New("fails")

func queue(p delivery.Policy, values ...string) *delivery.Queue[string] {
	if p.PerSecond == 0 {
		p.PerSecond, p.Burst = 1000, 1000
	}
	if p.GiveUp == 0 {
		p.GiveUp = time.Hour
	}
	p.Random = func() float64 { return 0.999999 }
	q := delivery.New[string](p)
	for _, v := range values {
		q.Push(v)
	}
	return q
}

// next returns the next job and when it is due.
func next(t *testing.T, q *delivery.Queue[string], now time.Time) (*delivery.Job[string], time.Time) {
	t.Helper()
	for range 10 {
		j, wait := q.Next(now)
		if j != nil {
			return j, now
		}
		if wait <= 0 {
			t.Fatalf("nothing to wait for, with %d jobs", q.Len())
		}
		now = now.Add(wait)
	}
	t.Fatal("Next never ends waiting")
	return nil, now
}

func TestBackoffDoublesAndGivesUp(t *testing.T) {
	q := queue(delivery.Policy{GiveUp: 10 * time.Minute}, "a")
	now := start
	var gaps []time.Duration
	for {
		j, at := next(t, q, now)
		gaps = append(gaps, at.Sub(now).Round(time.Second))
		now = at
		if q.Result(j, errFails, now, now) == delivery.Dead {
			break
		}
	}
	if q.Len() != 0 {
		t.Error("a dead job is still there")
	}
	if len(gaps) < 8 || gaps[1] != time.Second || gaps[2] != 2*time.Second || gaps[3] != 4*time.Second {
		t.Errorf("waits %v", gaps)
	}
	if d := now.Sub(start); d < 10*time.Minute || d > 16*time.Minute {
		t.Errorf("given up after %s", d)
	}
}

func TestOneFailingJobDoesNotKeepOthers(t *testing.T) {
	q := queue(delivery.Policy{}, "bad", "b", "c")
	j, now := next(t, q, start)
	if q.Result(j, errFails, now, now) != delivery.Again {
		t.Fatal("not again")
	}
	for _, want := range []string{"b", "c", "bad"} {
		j, at := next(t, q, now)
		if j.Value != want {
			t.Fatalf("got %s, want %s", j.Value, want)
		}
		now = at
		q.Result(j, nil, now, now)
	}
	if now.Sub(start) < 500*time.Millisecond {
		t.Error("tried again at once")
	}
}

func TestCircuitOpensAndProbesWithOne(t *testing.T) {
	q := queue(delivery.Policy{}, "a", "b", "c", "d", "e", "f", "g")
	now := start
	for range 5 {
		j, at := next(t, q, now)
		now = at
		q.Result(j, errFails, now, now)
	}
	if c := q.Circuit(); c != delivery.Open {
		t.Fatalf("circuit %s", c)
	}
	if j, wait := q.Next(now); j != nil || wait < 4*time.Second {
		t.Fatalf("while open: %v, %s", j, wait)
	}
	j, now := next(t, q, now)
	q.Result(j, errFails, now, now) // the probe
	if _, wait := q.Next(now); wait < 9*time.Second {
		t.Fatalf("after a failed probe it waits %s", wait)
	}
	j, now = next(t, q, now)
	q.Result(j, nil, now, now)
	if c := q.Circuit(); c != delivery.Closed {
		t.Fatalf("circuit %s", c)
	}
}

func TestRetryAfterPausesTheDestination(t *testing.T) {
	q := queue(delivery.Policy{}, "a", "b")
	j, now := next(t, q, start)
	q.Result(j, &notification.Error{After: 30 * time.Second, Err: errFails}, now, now)
	if _, at := next(t, q, now); at.Sub(start) != 30*time.Second {
		t.Errorf("goes on after %s", at.Sub(start))
	}
}

func TestGoneEndsAll(t *testing.T) {
	q := queue(delivery.Policy{}, "a", "b")
	j, now := next(t, q, start)
	gone := &notification.Error{Refused: true, Gone: true, Err: errFails}
	if q.Result(j, gone, now, now) != delivery.Dead || q.Circuit() != delivery.Ended {
		t.Fatal("not gone")
	}
	if _, at := next(t, q, now); !at.Equal(now) || !errors.Is(q.Refusal(), errFails) {
		t.Error("the others are not given up at once")
	}
}

func TestRateLimit(t *testing.T) {
	q := queue(delivery.Policy{PerSecond: 1, Burst: 2}, "a", "b", "c", "d")
	now := start
	for range 4 {
		j, at := next(t, q, now)
		now = at
		q.Result(j, nil, now, now)
	}
	if d := now.Sub(start).Round(time.Millisecond); d != 2*time.Second {
		t.Errorf("four took %s", d)
	}
}
