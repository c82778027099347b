// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"
	"time"
)

// hands are clocks that a test sets.
type hands struct{ monotonic, offset int64 }

func (h *hands) read() (monotonic, wall int64) { return h.monotonic, h.monotonic + h.offset }

func TestClockFollowsSteps(t *testing.T) {
	const second, hour = int64(time.Second), int64(time.Hour)
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano()
	for _, step := range []int64{hour, -hour, 10 * second, -10 * second, int64(20 * time.Millisecond)} {
		h := &hands{monotonic: 100 * second}
		h.offset = start - h.monotonic
		c := newClock(h.read)
		stamped := start + 2*second // by the clock of before
		h.monotonic += 3 * second
		if got := c.now(); got != start+3*second {
			t.Errorf("step %v: steady time starts at %d, want wall time", time.Duration(step), got-start)
		}
		h.offset += step // nobody looked since
		h.monotonic += 100 * int64(time.Millisecond)

		if step == int64(20*time.Millisecond) {
			c.now() // so small a step shows only to who looks at the clock
		}
		if _, wall := h.read(); c.ofWall(wall) != start+3*second+second/10 {
			t.Errorf("step %v: a stamp of now is at %v", time.Duration(step), time.Duration(c.ofWall(wall)-start))
		}
		c.now()
		if got := c.ofWall(stamped); got != start+2*second {
			t.Errorf("step %v: a stamp from before is at %v, want 2s", time.Duration(step), time.Duration(got-start))
		}
		if got := c.ofKernel(uint64(h.monotonic)); got != c.now() {
			t.Errorf("step %v: kernel time %d is not now", time.Duration(step), got)
		}
		before, after := time.Unix(0, start+second), time.Unix(0, c.now())
		if got := c.wall(before); got.UnixNano() != start+second {
			t.Errorf("step %v: before it, the clock showed %v", time.Duration(step), got)
		}
		if _, wall := h.read(); c.wall(after).UnixNano() != wall {
			t.Errorf("step %v: after it, the clock showed %v", time.Duration(step), c.wall(after))
		}
		if c.stepCount() != 1 {
			t.Errorf("step %v: counted %d", time.Duration(step), c.stepCount())
		}
	}
}

func TestClockDoubtsStampsOfTheFuture(t *testing.T) {
	h := &hands{monotonic: int64(time.Hour), offset: 1}
	c := newClock(h.read)
	if _, wall := h.read(); c.ofWall(wall+int64(time.Minute)) != c.now() {
		t.Error("a stamp of the future was believed")
	}
	if got := c.wall(time.Time{}); !got.IsZero() {
		t.Errorf("no time became %v", got)
	}
}
