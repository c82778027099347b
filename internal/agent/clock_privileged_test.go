// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/kprobes"
)

// TestPrivilegedClockIsWatched sets the wall clock by less than would show in a
// flow's stamp, while nothing else looks at it.
func TestPrivilegedClockIsWatched(t *testing.T) {
	c := newClock(kprobes.Clocks)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.watch(ctx) }()
	time.Sleep(100 * time.Millisecond) // it watches
	for n, by := range []time.Duration{300 * time.Millisecond, -300 * time.Millisecond} {
		now := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); c.stepCount() != uint64(n+1); time.Sleep(time.Millisecond) { //nolint:gosec // small
			if time.Now().After(deadline) {
				t.Fatalf("the clock was set %d times; noticed: %d", n+1, c.stepCount())
			}
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("watching ended with %v", err)
	}
}
