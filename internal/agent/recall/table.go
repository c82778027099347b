// SPDX-License-Identifier: Apache-2.0

package recall

import (
	"time"

	"github.com/renat-project/renat/correlator"
)

// Table is a NAT map as its recorded changes make it. One goroutine at a time
// may use it.
type Table struct {
	entries map[entryKey]correlator.Addr
	removed *recent[entryKey, removal]
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{entries: map[entryKey]correlator.Addr{}, removed: newRecent[entryKey, removal](maxCached, removedFor)}
}

// Note takes the next change.
func (t *Table) Note(ev *correlator.Event) {
	n := &ev.NAT
	key := entryKey{ev.Tuple, n.Dir}
	switch {
	case ev.Kind != correlator.KindNAT || n.Map.CT || n.Errno != 0 || n.Op == correlator.Missing:
	case n.Op == correlator.Replaced:
		clear(t.entries)
	case n.Op == correlator.Insert:
		t.entries[key] = n.To
	default:
		to, known := t.entries[key]
		if delete(t.entries, key); !known {
			to = n.To
		}
		if !to.IsZero() {
			t.removed.put(key, removal{to, ev.Time}, time.Unix(0, ev.Time))
		}
	}
}

// Mapping is a Mapping, for times about that of the last change.
func (t *Table) Mapping(tuple correlator.Tuple, d correlator.Dir, at int64) (correlator.Addr, bool) {
	key := entryKey{tuple, d}
	if to, ok := t.entries[key]; ok {
		return to, true
	}
	gone, ok := t.removed.get(key, time.Unix(0, at))
	if !ok || at > gone.at+int64(lag) {
		return correlator.Addr{}, false
	}
	return gone.to, true
}
