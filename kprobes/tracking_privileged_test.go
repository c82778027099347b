// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// ctEntry is a CT entry that a test makes, and whether it is a living connection's.
type ctEntry struct {
	dir   correlator.Dir
	flags uint16
	left  time.Duration
	alive bool
}

var ctEntries = map[string]ctEntry{
	"established": {flags: ctSeenNonSYN, left: time.Hour, alive: true},
	"half closed": {flags: ctSeenNonSYN | 1, left: time.Hour, alive: true},
	"closed":      {flags: ctSeenNonSYN | ctClosed, left: 10 * time.Second},
	"expired":     {flags: ctSeenNonSYN, left: -5 * time.Second},
	"a mere SYN":  {left: time.Minute},
	"to the pod":  {dir: correlator.In, flags: ctSeenNonSYN, left: time.Hour},
}

// value is the entry's: IPv4 entries count in seconds, IPv6 in ticks.
func (e *ctEntry) value(t *testing.T, l layout) []byte {
	t.Helper()
	now := monotonicClock()
	ends := (now + int64(e.left)) / int64(time.Second)
	if l.v6 {
		length, err := tick()
		if err != nil {
			t.Fatal(err)
		}
		ends = int64(ticksAt(now+int64(e.left), length) / ticksUnit)
	}
	value := make([]byte, l.value)
	binary.NativeEndian.PutUint32(value[valueCTLifetime:], uint32(ends))
	binary.NativeEndian.PutUint16(value[valueCTFlags:], e.flags)
	return value
}

// TestPrivilegedTrackingLost removes tracking entries of each sort by a syscall, a
// program, and evictions. Those of living connections are told of, with the time
// that they had left, and counted by who removed them; no others are.
func TestPrivilegedTrackingLost(t *testing.T) {
	for _, b := range backends(t) {
		t.Run(string(b), func(t *testing.T) {
			bpffs := newBPFFS(t)
			layouts := map[string]layout{"cilium_ct4_global": ct4, "cilium_ct6_global": ct6}
			maps := map[string]*ebpf.Map{}
			for name, l := range layouts {
				maps[name] = newMap(t, bpffs, name, l, evictionEntries)
			}
			r := record(t, Config{Backend: b, BPFFS: bpffs}, len(maps))
			logLengths(t, r.Tracer)
			for name, l := range layouts {
				m := maps[name]
				u := newUser(t, m, l)
				for sort, e := range ctEntries {
					en := l.out(40000, 0)
					en.dir = e.dir
					key, value := l.codec().key(en.tuple, en.dir), e.value(t, l)
					put := func() {
						t.Helper()
						if err := m.Put(key, value); err != nil {
							t.Fatal(err)
						}
						r.take(t)
					}
					put()
					if err := m.Delete(key); err != nil {
						t.Fatal(err)
					}
					checkLost(t, name+", "+sort+", by a syscall", r.take(t), e, en, b == Fentry,
						&correlator.Caller{Program: correlator.ProgramSyscall, Comm: comm(t)})
					put()
					u.do(t, l.op(doDelete, en, 0))
					checkLost(t, name+", "+sort+", by a program", r.take(t), e, en, true, &correlator.Caller{Program: testProgram})
				}
				c := r.of(t, name)
				if c.DeletedAliveProgram != 2 || (b == Fentry && c.DeletedAliveSyscall != 2) || c.EvictedAlive != 0 || c.DeletedAliveUnknown != 0 {
					t.Errorf("%s: counted %+v", name, c)
				}
				checkLostByEviction(t, r, u, name, l)
			}
		})
	}
}

func checkLost(t *testing.T, what string, events []correlator.Event, e ctEntry, en entry, seen bool, by *correlator.Caller) {
	t.Helper()
	if !e.alive || !seen {
		if len(events) != 0 {
			t.Errorf("%s: told of: %+v", what, events)
		}
		return
	}
	if len(events) != 1 {
		t.Errorf("%s: %d events", what, len(events))
		return
	}
	ev := events[0]
	if ev.NAT.Op != correlator.Delete || ev.Tuple != en.tuple || ev.NAT.Dir != en.dir || !near(ev.NAT.Left, e.left) || ev.NAT.Created != 0 ||
		!ev.NAT.To.IsZero() || ev.NAT.Caller == nil || *ev.NAT.Caller != *by {
		t.Errorf("%s: %+v %+v by %+v", what, ev.Tuple, ev.NAT, ev.NAT.Caller)
	}
}

// near: the clocks count in whole units.
func near(is, want time.Duration) bool { return is > want-5*time.Second && is <= want+2*time.Second }

// checkLostByEviction overflows a map with entries of which every second one is
// alive: as many evictions of those are told of as are counted.
func checkLostByEviction(t *testing.T, r *recorder, u *user, name string, l layout) {
	t.Helper()
	alive, over := ctEntries["established"], ctEntries["closed"]
	values := [2][]byte{alive.value(t, l), over.value(t, l)}
	var ops []opsOp
	for i := range uint16(3 * evictionEntries) {
		ops = append(ops, l.op(doUpdate, l.out(i+1, 0), 0))
		copy(ops[len(ops)-1].Value[:], values[i%2])
		if len(ops) == 512 {
			u.do(t, ops...)
			ops = ops[:0]
		}
	}
	var evicted uint64
	for _, ev := range r.take(t) {
		if ev.NAT.Op == correlator.Insert { // of one that was remembered by chance
			continue
		}
		if ev.NAT.Op != correlator.Evict || ev.Tuple.Src.Port%2 != 1 || !near(ev.NAT.Left, alive.left) {
			t.Fatalf("%s: %s", name, fmt.Sprintf("%+v %+v", ev.Tuple, ev.NAT))
		}
		evicted++
	}
	c := r.of(t, name)
	if c.EvictedAlive != evicted || evicted < evictionEntries/2 || c.Evictions < 2*evicted-evictionEntries/4 {
		t.Errorf("%s: told of %d, counted %+v", name, evicted, c)
	}
}
