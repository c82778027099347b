// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/renat-project/renat/correlator"
)

const (
	// timeoutsEvery is how often tracking entries are looked at: a connection that
	// falls asleep was looked at no longer than that after its last packet.
	timeoutsEvery = time.Minute
	// timeoutMargin covers that, and units of the filter.
	timeoutMargin = 100 * time.Second
	// windowMax is filter_window's longest, in units: nothing is forgotten.
	windowMax = math.MaxUint16 - 1
)

// Remembers returns for how long after a removal the connection's inserts are
// sent: longer than Cilium keeps an idle connection, as far as that was seen.
func (t *Tracer) Remembers() time.Duration { return time.Duration(t.remembers.Load()) }

// followTimeouts looks at a batch of each tracking map for how long Cilium keeps
// entries, which an option sets, and has removals remembered for longer than that.
func (t *Tracer) followTimeouts() error {
	clock := newStamps(t.tick)
	window := t.Remembers()
	for _, v6 := range []bool{false, true} {
		_, ct := t.mapsOf(v6)
		for _, m := range ct {
			err := m.entries(readBatch, func(_ *cilium, key, value []byte) {
				if key[len(key)-1] == uint8(correlator.Out) {
					left := -clock.age(uint64(binary.NativeEndian.Uint32(value[valueCTLifetime:])))
					window = max(window, left+timeoutMargin)
				}
			})
			if err != nil {
				return fmt.Errorf("reading map %s: %w", m.Name, err)
			}
		}
	}
	if window == t.Remembers() {
		return nil
	}
	if err := t.kernel.collection.Variables[watchVarFilterWindow].Set(unitsOf(window, t.tick<<t.kernel.filter.shift)); err != nil {
		return fmt.Errorf("setting the filter's window: %w", err)
	}
	t.remembers.Store(int64(window))
	return nil
}

// unitsOf returns a window in units of the filter.
func unitsOf(window, unit time.Duration) uint16 {
	return uint16(min((window-1)/unit+1, windowMax))
}
