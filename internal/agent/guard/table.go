// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/kprobes"
)

const (
	// tableMax is how many connections are remembered.
	tableMax = 2 * most
	// freshMax is how many that were established since the last look are
	// remembered as such; the others wait for the next run.
	freshMax = 1 << 12
	// restTime is how long a connection is left alone that has ended, or is not
	// masqueraded.
	restTime = time.Minute
	// endsMax is how many connections that have closed are remembered, more or
	// less the last: those of three seconds on a busy node.
	endsMax = 1 << 14
)

// connection is one that may be guarded.
type connection struct {
	key     key
	tuple   correlator.Tuple // of the pod's packets
	v       int              // version of its addresses
	pod     *correlator.Peer // nil: not known yet
	heard   int64            // Unix nanoseconds of the last packet; 0: not seen yet
	evicted uint64           // limits.evicted at that time
	resting time.Time        // until when it is left alone; zero: it is not
	spoke   bool             // since the last run
	kept    bool             // guarded as of the last run
	guarded bool             // ever
	lost    bool             // an entry of it was removed
}

// table has the connections by their keys.
type table struct {
	all        map[key]*connection
	overlooked uint64 // for which there was no room
	ends       []end  // by key
	seed       maphash.Seed
}

// key is a tuple's hash: a flow is looked up several times. That two of tableMax
// have the same is one chance in two billion.
type key uint64

// end is that of a connection: its last packets follow it, in whatever order
// Hubble shows them.
type end struct {
	key key
	at  int64 // Unix nanoseconds
}

func newTable() table {
	return table{all: map[key]*connection{}, ends: make([]end, endsMax), seed: maphash.MakeSeed()}
}

func (t *table) key(tuple correlator.Tuple) key { return key(maphash.Comparable(t.seed, tuple)) }

// closes notes a connection's end.
func (t *table) closes(k key, at int64) { t.ends[k%endsMax] = end{k, at} }

// closed reports whether a packet may be one of the last of a connection that has
// closed. If it is of another from the same port, so soon, a later one will tell.
func (t *table) closed(k key, at int64) bool {
	e := t.ends[k%endsMax]
	return e.key == k && at-e.at < int64(latest)
}

// add makes a connection; nil if there is no room.
func (t *table) add(k key, tuple correlator.Tuple, pod *correlator.Peer) *connection {
	if len(t.all) >= tableMax {
		t.overlooked++
		return nil
	}
	c := &connection{key: k, tuple: tuple, v: version(tuple.Src.AddrPort().Addr().Is6()), pod: pod}
	t.all[k] = c
	return c
}

// choose appends those to look up: all that there are, or, where they are too
// many, those that were silent for longest, and of one workload a part only. It
// forgets those that have rested. If it is to be silent ones, those that spoke
// since the last run are left out; it counts the guarded ones among them.
func (t *table) choose(l *limits, last []*connection, now time.Time, silentOnly bool) (chosen []*connection, talking int) {
	var all [2][]*connection
	l.wanted = 0
	for k, c := range t.all {
		if !c.resting.IsZero() {
			if now.After(c.resting) {
				delete(t.all, k)
			}
			continue
		}
		l.wanted++
		spoke := c.spoke
		c.spoke = false
		if silentOnly && spoke {
			if c.kept {
				talking++
			}
			continue
		}
		all[c.v] = append(all[c.v], c)
	}
	last = last[:0]
	for v := range all {
		if limit := l.of(v); len(all[v]) > limit {
			all[v] = silent(all[v], limit)
		}
		last = append(last, all[v]...)
	}
	return last, talking
}

// silent returns the connections that were silent for longest, of one owner a
// part; of the others it notes that they are not guarded.
func silent(all []*connection, limit int) []*connection {
	each := max(limit/oneWorkload, 1)
	slices.SortFunc(all, func(a, b *connection) int { return cmp.Compare(a.heard, b.heard) })
	owners := map[string]int{}
	chosen := all[:0]
	for _, c := range all {
		owner := c.owner()
		if len(chosen) == limit || owners[owner] == each {
			c.kept = false
			continue
		}
		owners[owner]++
		chosen = append(chosen, c)
	}
	return chosen
}

// owner is whose connection it is. Behind an address that is no pod's as far as
// is known, such as the node's own, are many: each of their servers counts alone.
func (c *connection) owner() string {
	side := endpoint(c.tuple.Src, c.pod)
	if side.Pod == "" && side.Workload == "" {
		return side.Owner() + " " + c.tuple.Dst.String()
	}
	return side.Owner()
}

// found notes how a connection was found and reports whether it is guarded.
func (t *table) found(c *connection, is kprobes.Condition, now time.Time) bool {
	c.kept = is == kprobes.Kept
	switch is {
	case kprobes.Kept:
		c.guarded = true
	case kprobes.Closing, kprobes.Expired, kprobes.Untracked, kprobes.HostsOwn:
		c.rest(now)
	case kprobes.OutGone:
		if !c.guarded {
			c.rest(now) // not masqueraded
		}
	}
	return c.kept
}

// rest has a connection left alone.
func (c *connection) rest(now time.Time) {
	c.kept, c.resting = false, now.Add(restTime)
}
