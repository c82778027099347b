// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// origin is a moment on the kernel's monotonic clock, and on Go's, which is the
// same but for its beginning, and costs no system call. Of three tries the one
// counts that was interrupted least.
var origin = sync.OnceValue(func() (o struct {
	monotonic int64
	at        time.Time
}) {
	read := func() int64 {
		var t unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every Linux has it
		return t.Nano()
	}
	best := int64(1) << 62
	for range 3 {
		before, now, after := read(), time.Now(), read()
		if after-before < best {
			best, o.monotonic, o.at = after-before, before+(after-before)/2, now
		}
	}
	return o
})

// Clocks returns what the kernel's monotonic clock shows, and the wall clock as
// Unix time, both in nanoseconds.
func Clocks() (monotonic, wall int64) {
	o, now := origin(), time.Now()
	return o.monotonic + int64(now.Sub(o.at)), now.UnixNano()
}

func monotonicClock() int64 {
	monotonic, _ := Clocks()
	return monotonic
}

// clockOffset returns wall time minus the kernel's monotonic time, in
// nanoseconds. Run asks anew for every batch of events, so a clock that is set
// shows in the next batch. Of three tries the one counts that was interrupted
// least.
func clockOffset() (offset int64) {
	best := int64(1) << 62
	for range 3 {
		before := monotonicClock()
		monotonic, wall := Clocks()
		if took := monotonicClock() - before; took < best {
			best, offset = took, wall-monotonic
		}
	}
	return offset
}

// Now returns this moment on the kernel's monotonic clock, in nanoseconds, and
// on the wall clock: the anchor of a recording.
func Now() (ktime uint64, wall time.Time) {
	offset, now := clockOffset(), time.Now().Round(0)
	return uint64(now.UnixNano() - offset), now
}

// filterUnits returns the filter's unit of time, as a power of two of the kernel's
// ticks, and the window it begins with in such units (bpf/filter.h).
func filterUnits(window, tick time.Duration) (shift uint8, units uint16) {
	const unitsMax = 8191
	for ; window > unitsMax*tick<<shift; shift++ {
	}
	return shift, unitsOf(window, tick<<shift)
}

// filterScale is what the programs scale the kernel's ticks by for the highest 16
// of their 64 bits to count units.
func filterScale(shift uint8) uint64 { return 1 << (48 - shift) }

// tick is the time between two of the kernel's ticks: the coarse clock's resolution.
func tick() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &t); err != nil {
		return 0, fmt.Errorf("asking how long a tick is: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// ticksAt returns the kernel's jiffies64 at a time of its monotonic clock: they
// begin five minutes before 2^32 (INITIAL_JIFFIES), as far as they count from the
// same moment.
func ticksAt(ktime int64, tick time.Duration) uint64 {
	return uint64(1<<32-5*time.Minute/tick) + uint64(ktime)/uint64(tick)
}

// stamps reads the times in Cilium's entries: whole seconds of the monotonic
// clock, or units of 256 ticks, where its datapath counts in those.
type stamps struct {
	seconds, ticks int64 // now, by either clock
	unit           time.Duration
}

func newStamps(tick time.Duration) stamps {
	now := monotonicClock()
	return stamps{now / int64(time.Second), int64(ticksAt(now, tick) / ticksUnit), ticksUnit * tick}
}

// age returns how long ago a stamp was, negative if it lies ahead. Which of the
// two clocks made it shows in which is nearer: they lie half a year apart.
func (s stamps) age(stamp uint64) time.Duration {
	seconds, ticks := s.seconds-int64(stamp), s.ticks-int64(stamp)
	if max(seconds, -seconds) <= max(ticks, -ticks) {
		return time.Duration(seconds) * time.Second
	}
	return time.Duration(ticks) * s.unit
}

// made returns when an entry with this stamp was made, in Unix nanoseconds, if
// now is at; 0 if it is unknown.
func (s stamps) made(stamp uint64, at int64) int64 {
	if age := s.age(stamp); stamp != 0 && age >= 0 {
		return at - int64(age)
	}
	return 0
}
