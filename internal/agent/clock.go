// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stepped is by how much the wall clock must move against the monotonic one
	// to have been set. Slewing moves both.
	stepped = 5 * time.Millisecond
	// ahead is how far in the future a stamp may lie, and not be one that was
	// shown before the clock was set back.
	ahead = time.Second
	// maxEras is how many settings of the clock are remembered.
	maxEras = 64
)

// clock makes one time of the sources' two: kernel events have the monotonic
// clock, flows the wall clock, which an operator or NTP may set at any moment.
// Steady time is the monotonic clock plus a constant, chosen so that it is wall
// time until the wall clock is set for the first time. The correlator sees only
// steady time; incidents get the wall time that was shown when it happened.
type clock struct {
	read   func() (monotonic, wall int64)
	anchor int64 // steady time minus monotonic time

	mu    sync.Mutex // guards what follows
	eras  []era      // of the wall clock, the oldest first; never empty
	steps uint64     // how often it was set
}

// era is the time between two settings of the wall clock.
type era struct {
	since  int64 // monotonic time of the first reading in it
	offset int64 // wall minus monotonic time
}

func newClock(read func() (monotonic, wall int64)) *clock {
	monotonic, wall := read()
	return &clock{read: read, anchor: wall - monotonic, eras: []era{{monotonic, wall - monotonic}}}
}

// watch notices at once when the kernel's wall clock is set, until ctx ends.
func (c *clock) watch(ctx context.Context) error {
	// A timer that the kernel cancels when the clock is set, and that never ends.
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("watching the clock: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	defer timer.Close()
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: 1 << 33}} // the year 2242
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil); err != nil {
		return fmt.Errorf("watching the clock: %w", err)
	}
	defer context.AfterFunc(ctx, func() { timer.Close() })()
	for {
		var expirations [8]byte
		if _, err := timer.Read(expirations[:]); err != nil && !errors.Is(err, unix.ECANCELED) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("watching the clock: %w", err)
		}
		c.now()
	}
}

// now returns the steady time, and notices when the wall clock was set.
func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.look() + c.anchor
}

// look reads the clocks and begins an era if the wall clock was set.
func (c *clock) look() (monotonic int64) {
	monotonic, wall := c.read()
	if !c.moved(wall - monotonic) {
		return monotonic
	}
	// Or something came between the two readings.
	if monotonic, wall = c.read(); c.moved(wall - monotonic) {
		if len(c.eras) == maxEras {
			c.eras = append(c.eras[:0], c.eras[1:]...)
		}
		c.eras = append(c.eras, era{monotonic, wall - monotonic})
		c.steps++
	}
	return monotonic
}

// moved reports whether the offset is not that of the last era.
func (c *clock) moved(offset int64) bool {
	by := offset - c.eras[len(c.eras)-1].offset
	return by > int64(stepped) || by < -int64(stepped)
}

// ofKernel returns the steady time of a kernel event.
func (c *clock) ofKernel(monotonic uint64) int64 { return int64(monotonic) + c.anchor } //nolint:gosec // 292 years

// ofWall returns the steady time at which the wall clock showed a time lately.
// When it did so twice, having been set back, the later one.
func (c *clock) ofWall(wall int64) int64 {
	steady, _ := c.ofWallNow(wall)
	return steady
}

// ofWallNow is ofWall, and returns the steady time now, too: the clocks are read
// once for each flow.
func (c *clock) ofWallNow(wall int64) (steady, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	for i := len(c.eras) - 1; i >= 0; i-- {
		m := wall - c.eras[i].offset
		if m > now+int64(ahead) {
			continue // not yet: it was shown before the clock was set back
		}
		if i == 0 || m >= c.eras[i].since-int64(stepped) {
			return m + c.anchor, now + c.anchor
		}
	}
	// A stamp of the future: its clock is another's.
	return now + c.anchor, now + c.anchor
}

// wall returns what the wall clock showed at a steady time.
func (c *clock) wall(steady time.Time) time.Time {
	if steady.IsZero() {
		return steady
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := steady.UnixNano() - c.anchor
	for i := len(c.eras) - 1; i > 0; i-- {
		if m >= c.eras[i].since {
			return time.Unix(0, m+c.eras[i].offset).UTC()
		}
	}
	return time.Unix(0, m+c.eras[0].offset).UTC()
}

// stepCount is how often the wall clock was set.
func (c *clock) stepCount() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steps
}
