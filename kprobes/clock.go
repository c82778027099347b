// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// clockOffset returns wall time minus the kernel's monotonic time, in
// nanoseconds. Run asks anew for every batch of events, so a clock that is set
// shows in the next batch. Of three tries the one counts whose readings lie
// closest together.
func clockOffset() (int64, error) {
	var offset int64
	best := int64(1) << 62
	for range 3 {
		before, wall, after, err := readClocks()
		if err != nil {
			return 0, err
		}
		if after-before < best {
			best = after - before
			offset = wall - before - (after-before)/2
		}
	}
	return offset, nil
}

// Now returns this moment on the kernel's monotonic clock, in nanoseconds, and
// on the wall clock: the anchor of a recording.
func Now() (ktime uint64, wall time.Time, err error) {
	offset, err := clockOffset()
	if err != nil {
		return 0, time.Time{}, err
	}
	now := time.Now().Round(0)
	return uint64(now.UnixNano() - offset), now, nil
}

// filterUnits returns the filter's unit of time, as a power of two of the
// kernel's ticks, and its window in such units (bpf/filter.h).
func filterUnits(window, tick time.Duration) (shift uint8, units uint16) {
	const unitsMax = 8191
	for ; window > unitsMax*tick<<shift; shift++ {
	}
	return shift, uint16((window + tick<<shift - 1) / (tick << shift))
}

// tick is the time between two of the kernel's ticks: the coarse clock's resolution.
func tick() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &t); err != nil {
		return 0, fmt.Errorf("asking how long a tick is: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

func readClocks() (before, wall, after int64, err error) {
	if before, err = monotonicClock(); err != nil {
		return 0, 0, 0, err
	}
	var w unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &w); err != nil {
		return 0, 0, 0, fmt.Errorf("reading the wall clock: %w", err)
	}
	after, err = monotonicClock()
	return before, w.Nano(), after, err
}

// monotonicClock returns the kernel's, in nanoseconds.
func monotonicClock() (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, fmt.Errorf("reading the monotonic clock: %w", err)
	}
	return t.Nano(), nil
}
