// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"testing"
	"time"
)

// TestUnitsOfLongWindows wants the longest where no shorter one will do.
func TestUnitsOfLongWindows(t *testing.T) {
	for window, want := range map[time.Duration]uint16{6 * time.Hour: 21600, 5 * 24 * time.Hour: windowMax, 1 << 62: windowMax} {
		if got := unitsOf(window, time.Second); got != want {
			t.Errorf("%s in seconds: %d", window, got)
		}
	}
}

// TestFilterUnits wants windows that are long enough, by less than a unit, at
// every rate of ticks a kernel is built with.
func TestFilterUnits(t *testing.T) {
	for _, tick := range []time.Duration{time.Millisecond, time.Second / 300, 4 * time.Millisecond, 10 * time.Millisecond} {
		for _, window := range []time.Duration{tick, 2 * time.Second, FilterWindow} {
			shift, units := filterUnits(window, tick)
			unit := tick << shift
			if got := time.Duration(units) * unit; got < window || got >= window+unit || units > 8191 {
				t.Errorf("a window of %s in ticks of %s: %d units of %s", window, tick, units, unit)
			}
			for _, ticks := range []uint64{1<<32 - 300, 1<<32 + 1<<16, 1<<40 - 1} {
				if got, want := ticks*filterScale(shift)>>48, uint64(uint16(ticks>>shift)); got != want {
					t.Errorf("%d ticks of which a unit has %d: unit %d, want %d", ticks, 1<<shift, got, want)
				}
			}
		}
	}
	if got, err := tick(); err != nil || got < time.Millisecond/2 || got > 20*time.Millisecond {
		t.Errorf("a tick of %s, %v", got, err)
	}
}
