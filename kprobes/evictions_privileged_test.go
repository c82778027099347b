// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// evictionEntries is the size of the maps that overflow.
const evictionEntries = 1024

// TestPrivilegedEvictions overflows maps of both families with both backends.
// What was inserted must be what is left plus what was evicted, entry by entry
// and value by value, and the counters must say the same.
func TestPrivilegedEvictions(t *testing.T) {
	for _, b := range backends(t) {
		t.Run(string(b), func(t *testing.T) {
			bpffs := newBPFFS(t)
			maps := map[string]*ebpf.Map{}
			for name, l := range natLayouts {
				maps[name] = newMap(t, bpffs, name, l, evictionEntries)
			}
			r := record(t, Config{Backend: b, BPFFS: bpffs}, 2)
			logLengths(t, r.Tracer)
			for name, l := range natLayouts {
				other := newMap(t, "", "another_lru_map", l, evictionEntries)
				overflow(t, newUser(t, other, l), l)
				if got := r.take(t); len(got) != 0 {
					t.Errorf("%d events of a map that is not Cilium's", len(got))
				}
				inserted := overflow(t, newUser(t, maps[name], l), l)
				evicted := checkEvictions(t, r.take(t), inserted, name)
				left := contents(t, maps[name], l)
				for key, to := range left {
					if inserted[key] != to {
						t.Errorf("%s: %v is left with %v, inserted was %v", name, key, to, inserted[key])
					}
					delete(inserted, key)
				}
				if len(inserted) != evicted {
					t.Errorf("%s: %d entries are gone, %d evictions seen", name, len(inserted), evicted)
				}
				c := r.of(t, name)
				if int(c.Evictions) != evicted || c.Inserts != 3*evictionEntries || c.Dropped != 0 {
					t.Errorf("%s: %d evictions seen, counted %+v", name, evicted, c)
				}
				t.Logf("%s: %d inserted into %d, %d evicted, %d of them forced", name, c.Inserts, evictionEntries, evicted, c.Forced)
				count, err := r.Count(t.Context(), mapID(t, maps[name]))
				if err != nil || int(count) != len(left) {
					t.Errorf("%s: counted %d entries (%v), there are %d", name, count, err, len(left))
				}
			}
		})
	}
}

// slot is a key in the test's words.
type slot struct {
	tuple correlator.Tuple
	dir   correlator.Dir
}

// overflow inserts three times what fits and returns it.
func overflow(t *testing.T, u *user, l layout) map[slot]correlator.Addr {
	t.Helper()
	stamp := stampOf(t, l)
	inserted := map[slot]correlator.Addr{}
	var ops []opsOp
	for i := range uint16(3 * evictionEntries / 2) {
		for _, e := range []entry{l.in(20000+i, 30000+i), l.out(20000+i, 30000+i)} {
			inserted[slot{e.tuple, e.dir}] = e.to
			ops = append(ops, l.op(doUpdate, e, 1))
			binary.NativeEndian.PutUint64(ops[len(ops)-1].Value[:], stamp)
		}
		if len(ops) == 512 {
			u.do(t, ops...)
			ops = ops[:0]
		}
	}
	return inserted
}

// entryAge is how long ago the entries of overflow say that they were made.
const entryAge = 41 * time.Second

// stampOf is what Cilium's datapath has in an entry made entryAge ago: here the
// IPv4 map has seconds, the IPv6 map ticks, which begin five minutes before they
// wrap at 32 bits (INITIAL_JIFFIES).
func stampOf(t *testing.T, l layout) uint64 {
	t.Helper()
	now := monotonicClock()
	made := now - int64(entryAge)
	if !l.v6 {
		stamp := made / int64(time.Second)
		if stamp == 0 { // unknown; the machine is that young
			stamp = 1
		}
		return uint64(stamp)
	}
	length, err := tick()
	if err != nil {
		t.Fatal(err)
	}
	initial := int64(1<<32) - int64(5*time.Minute/length)
	return uint64(initial+made/int64(length)) / ticksUnit
}

// checkEvictions wants evictions only, of entries that were inserted, once each.
func checkEvictions(t *testing.T, events []correlator.Event, inserted map[slot]correlator.Addr, name string) int {
	t.Helper()
	seen := map[slot]bool{}
	for _, e := range events {
		key := slot{e.Tuple, e.NAT.Dir}
		to, ok := inserted[key]
		if e.NAT.Op != correlator.Evict || !ok || e.NAT.To != to || seen[key] || e.NAT.Map.Name != name || e.NAT.Caller != nil {
			t.Fatalf("%s: event %+v %+v; inserted %v with %v, evicted before %v", name, e.Tuple, e.NAT, ok, to, seen[key])
		}
		seen[key] = true
		if age := time.Duration(e.Time - e.NAT.Created); age < entryAge-3*time.Second || age > entryAge+10*time.Second {
			t.Fatalf("%s: an entry was %s old, it said %s", name, age, entryAge)
		}
	}
	return len(seen)
}

// contents dumps a map.
func contents(t *testing.T, m *ebpf.Map, l layout) map[slot]correlator.Addr {
	t.Helper()
	all := map[slot]correlator.Addr{}
	var key, value []byte
	for entries := m.Iterate(); entries.Next(&key, &value); {
		tuple, dir := l.codec().tuple(key)
		all[slot{tuple, dir}] = l.codec().addr(value[valueTo:])
	}
	return all
}

func mapID(t *testing.T, m *ebpf.Map) uint32 {
	t.Helper()
	info, err := m.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return uint32(id)
}
