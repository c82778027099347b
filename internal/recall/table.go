// SPDX-License-Identifier: Apache-2.0

package recall

import (
	"time"

	"github.com/renat-project/renat/correlator"
)

// Table is a NAT map as its recorded changes make it. One goroutine at a time
// may use it.
type Table struct {
	entries map[correlator.Tuple]correlator.Addr // by the pod's tuple
	removed *recent[correlator.Tuple, removal]
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{entries: map[correlator.Tuple]correlator.Addr{}, removed: newRecent[correlator.Tuple, removal](maxCached, removedFor)}
}

// Note takes the next change.
func (t *Table) Note(ev *correlator.Event) {
	n := &ev.NAT
	switch {
	case ev.Kind != correlator.KindNAT || n.Map.CT || n.Errno != 0:
	case n.Op == correlator.Replaced:
		clear(t.entries)
	case n.Dir != correlator.Out:
	case n.Op == correlator.Insert:
		t.entries[ev.Tuple] = n.To
	default:
		to, known := t.entries[ev.Tuple]
		if delete(t.entries, ev.Tuple); !known {
			to = n.To
		}
		if !to.IsZero() {
			t.removed.put(ev.Tuple, removal{to, ev.Time}, time.Unix(0, ev.Time))
		}
	}
}

// Mapping is a Mapping, for times about that of the last change.
func (t *Table) Mapping(pod correlator.Tuple, at int64) (correlator.Addr, bool) {
	if to, ok := t.entries[pod]; ok {
		return to, true
	}
	gone, ok := t.removed.get(pod, time.Unix(0, at))
	if !ok || at > gone.at+int64(lag) {
		return correlator.Addr{}, false
	}
	return gone.to, true
}
