// SPDX-License-Identifier: Apache-2.0

package recall

import (
	"sync"
	"time"

	"github.com/renat-project/renat/correlator"
)

const (
	// presentFor and absentFor are how long what a lookup said is believed; a
	// change of the entry that the kernel tells ends it at once. Not all new
	// entries are told.
	presentFor = time.Second
	absentFor  = 100 * time.Millisecond
	// removedFor is how long flows of a removed entry may still come.
	removedFor = 30 * time.Second
	// maxCached bounds each of the three tables, to twice as many at times.
	maxCached = 1 << 14
)

// Lookup reads the entry of a tuple from the kernel's map as it is now.
type Lookup func(t correlator.Tuple, d correlator.Dir) (to correlator.Addr, found bool, err error)

// Live knows the translations of a node's connections: from the map itself,
// and of entries that are gone, from what the kernel told of their removal.
type Live struct {
	lookup Lookup
	now    func() time.Time

	mu      sync.Mutex // guards what follows
	present *recent[entryKey, correlator.Addr]
	absent  *recent[entryKey, struct{}]
	removed *recent[entryKey, removal]
}

// entryKey names an entry of a NAT map.
type entryKey struct {
	tuple correlator.Tuple
	dir   correlator.Dir
}

// removal is an entry that is gone.
type removal struct {
	to correlator.Addr
	at int64 // Unix nanoseconds
}

// NewLive returns a Live that knows nothing yet.
func NewLive(lookup Lookup) *Live {
	return &Live{
		lookup: lookup, now: time.Now,
		present: newRecent[entryKey, correlator.Addr](maxCached, presentFor/2),
		absent:  newRecent[entryKey, struct{}](maxCached, absentFor/2),
		removed: newRecent[entryKey, removal](maxCached, removedFor),
	}
}

// Note takes an operation on a map when it was done.
func (l *Live) Note(ev *correlator.Event) {
	n := &ev.NAT
	if ev.Kind != correlator.KindNAT || n.Map.CT || n.Errno != 0 || n.Op == correlator.Replaced || n.Op == correlator.Missing {
		return
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := entryKey{ev.Tuple, n.Dir}
	l.present.remove(key)
	l.absent.remove(key)
	if n.Op != correlator.Insert && !n.To.IsZero() {
		l.removed.put(key, removal{n.To, now.UnixNano()}, now)
	}
}

// Mapping is a Mapping. An entry that is there now is taken for the flow's,
// however old that is; one that is gone only for flows from before.
func (l *Live) Mapping(t correlator.Tuple, d correlator.Dir, at int64) (correlator.Addr, bool) {
	key, now := entryKey{t, d}, l.now()
	l.mu.Lock()
	to, present := l.present.get(key, now)
	_, absent := l.absent.get(key, now)
	gone, removed := l.removed.get(key, now)
	l.mu.Unlock()
	if present {
		return to, true
	}
	if !absent {
		// Without the lock: another lookup of the same may happen, and a removal
		// meanwhile is believed too late by presentFor at most.
		to, found, err := l.lookup(t, d)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil && found {
			l.present.put(key, to, now)
			return to, true
		}
		l.absent.put(key, struct{}{}, now)
	}
	if removed && at <= gone.at+int64(lag) {
		return gone.to, true
	}
	return correlator.Addr{}, false
}
