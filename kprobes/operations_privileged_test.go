// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

// natLayouts are the NAT maps by name.
var natLayouts = map[string]layout{"cilium_snat_v4_external": nat4, "cilium_snat_v6_external": nat6}

// step is one operation and what is to be seen of it.
type step struct {
	name string
	do   func(t *testing.T, m *ebpf.Map, u *user, l layout)
	want []seen
}

// seen is an event as the test compares it.
type seen struct {
	op      correlator.Op
	errno   int16
	flags   uint8
	entry   func(l layout) entry
	value   bool
	syscall bool
}

func first(l layout) entry  { return l.out(40000, 40000) }
func second(l layout) entry { return l.in(40000, 40000) }
func moved(l layout) entry  { return l.out(40000, 50000) }

func byProgram(kind uint32, flags uint32, entries ...func(layout) entry) func(*testing.T, *ebpf.Map, *user, layout) {
	return func(t *testing.T, _ *ebpf.Map, u *user, l layout) {
		var ops []opsOp
		for _, e := range entries {
			ops = append(ops, l.op(kind, e(l), flags))
		}
		u.do(t, ops...)
	}
}

// taking is a step that Linux before 5.14 refuses: with ENOTSUPP, of which the
// syscall's tracepoint tells.
const taking = "syscall takes"

var untaken = map[Backend][]seen{Kprobe: {{op: correlator.Delete, errno: 524, entry: second, syscall: true}}}

// steps follow one another on one map.
var steps = []step{
	{name: "insert", do: byProgram(doUpdate, 1, second, first), want: []seen{
		{op: correlator.Insert, flags: 1, entry: second, value: true},
		{op: correlator.Insert, flags: 1, entry: first, value: true},
	}},
	{name: "collide", do: byProgram(doUpdate, 1, first), want: []seen{
		{op: correlator.Insert, errno: 17, flags: 1, entry: first, value: true},
	}},
	{name: "overwrite", do: byProgram(doUpdate, 2, moved), want: []seen{
		{op: correlator.Insert, flags: 2, entry: moved, value: true},
	}},
	{name: "program deletes", do: byProgram(doDelete, 0, first, second), want: []seen{
		{op: correlator.Delete, entry: moved, value: true},
		{op: correlator.Delete, entry: second, value: true},
	}},
	{name: "program deletes nothing", do: byProgram(doDelete, 0, first), want: []seen{
		{op: correlator.Delete, errno: 2, entry: first},
	}},
	{name: "refill", do: byProgram(doUpdate, 0, first, second, moved), want: []seen{
		{op: correlator.Insert, entry: first, value: true},
		{op: correlator.Insert, entry: second, value: true},
		{op: correlator.Insert, entry: moved, value: true},
	}},
	{name: "syscall deletes", do: func(t *testing.T, m *ebpf.Map, _ *user, l layout) {
		if err := m.Delete(l.codec().key(first(l).tuple, correlator.Out)); err != nil {
			t.Error(err)
		}
		if err := m.Delete(l.codec().key(first(l).tuple, correlator.Out)); err == nil {
			t.Error("deleted twice")
		}
	}, want: []seen{
		{op: correlator.Delete, entry: moved, value: true, syscall: true},
		{op: correlator.Delete, errno: 2, entry: first, syscall: true},
	}},
	{name: taking, do: func(t *testing.T, m *ebpf.Map, _ *user, l layout) {
		value := make([]byte, l.value)
		err := m.LookupAndDelete(l.codec().key(second(l).tuple, correlator.In), value)
		if noTake := errors.Is(err, ebpf.ErrNotSupported); noTake != older(t, 5, 14) || (err != nil && !noTake) {
			t.Error(err)
		}
	}, want: []seen{{op: correlator.Delete, entry: second, value: true, syscall: true}}},
	{name: "refill again", do: byProgram(doUpdate, 0, first, second), want: []seen{
		{op: correlator.Insert, entry: first, value: true},
		{op: correlator.Insert, entry: second, value: true},
	}},
	{name: "syscall is refused a batch, and leaves the count as it was", do: func(t *testing.T, m *ebpf.Map, _ *user, l layout) {
		c := l.codec()
		keys := append(c.key(first(l).tuple, correlator.Out), c.key(second(l).tuple, correlator.In)...)
		if _, err := m.BatchDelete(asKeys(keys, int(l.key)), &ebpf.BatchOptions{ElemFlags: 1 << 20}); !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
	}},
	{name: "syscall deletes a batch", do: func(t *testing.T, m *ebpf.Map, _ *user, l layout) {
		c := l.codec()
		keys := append(c.key(first(l).tuple, correlator.Out), c.key(second(l).tuple, correlator.In)...)
		if n, err := m.BatchDelete(asKeys(keys, int(l.key)), nil); err != nil || n != 2 {
			t.Error(n, err)
		}
	}, want: []seen{
		{op: correlator.Delete, entry: first, value: true, syscall: true},
		{op: correlator.Delete, entry: second, value: true, syscall: true},
	}},
	{name: "refill once more", do: byProgram(doUpdate, 0, first), want: []seen{
		{op: correlator.Insert, entry: first, value: true},
	}},
	{name: "syscall takes a batch", do: func(t *testing.T, m *ebpf.Map, _ *user, l layout) {
		var cursor ebpf.MapBatchCursor
		var n int
		var err error
		if l.v6 {
			n, err = m.BatchLookupAndDelete(&cursor, make([][key6Size]byte, 16), make([][value6Size]byte, 16), nil)
		} else {
			n, err = m.BatchLookupAndDelete(&cursor, make([][key4Size]byte, 16), make([][value4Size]byte, 16), nil)
		}
		if n != 1 || !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Error(n, err)
		}
	}, want: []seen{{op: correlator.Delete, entry: first, syscall: true}}},
}

// asKeys splits bytes into keys of a type whose size the library can see.
func asKeys(raw []byte, size int) any {
	if size == key4Size {
		return [][key4Size]byte{[key4Size]byte(raw), [key4Size]byte(raw[size:])}
	}
	return [][key6Size]byte{[key6Size]byte(raw), [key6Size]byte(raw[size:])}
}

// TestPrivilegedOperations does every kind of operation and compares each
// event's key, value, errno, flags, caller and order, in both families, with
// both backends, while the same is done to a map that is not Cilium's.
func TestPrivilegedOperations(t *testing.T) {
	for _, b := range backends(t) {
		t.Run(string(b), func(t *testing.T) {
			bpffs := newBPFFS(t)
			maps := map[string]*ebpf.Map{}
			for name, l := range natLayouts {
				maps[name] = newMap(t, bpffs, name, l, 1024)
			}
			r := record(t, Config{Backend: b, Everything: true, BPFFS: bpffs}, 2)
			logLengths(t, r.Tracer)
			for name, l := range natLayouts {
				m := maps[name]
				other := newMap(t, "", "another_lru_map", l, 1024)
				watched, unwatched := newUser(t, m, l), newUser(t, other, l)
				for _, s := range steps {
					s.do(t, m, watched, l)
					s.do(t, other, unwatched, l)
					check(t, s, r, name, l)
				}
				checkCounters(t, r.of(t, name), b)
			}
			if n := r.stats(t).Missed; n != 0 {
				t.Errorf("%d missed", n)
			}
		})
	}
}

func check(t *testing.T, s step, r *recorder, name string, l layout) {
	t.Helper()
	got, b := r.take(t), r.kernel.backend
	if s.name == taking && older(t, 5, 14) {
		s.want = untaken[b]
	}
	if len(got) != len(s.want) {
		t.Errorf("%s %s: %d events, want %d: %+v", name, s.name, len(got), len(s.want), got)
		return
	}
	last := uint64(0)
	for i, w := range s.want {
		g := got[i]
		e := w.entry(l)
		caller := correlator.Caller{Program: testProgram}
		if w.syscall {
			caller = correlator.Caller{Program: correlator.ProgramSyscall, Comm: comm(t)}
		}
		if !w.value || (w.syscall && b == Kprobe) {
			e.to = correlator.Addr{}
		}
		if g.Tuple != e.tuple || g.NAT.Dir != e.dir || g.NAT.To != e.to {
			t.Errorf("%s %s %d: %v %v -> %v, want %v %v -> %v", name, s.name, i, g.Tuple, g.NAT.Dir, g.NAT.To, e.tuple, e.dir, e.to)
		}
		if g.NAT.Op != w.op || g.NAT.Errno != w.errno || g.NAT.Flags != w.flags || g.NAT.Map.Name != name {
			t.Errorf("%s %s %d: %+v, want %+v", name, s.name, i, g.NAT, w)
		}
		if g.NAT.Caller == nil || *g.NAT.Caller != caller {
			t.Errorf("%s %s %d: caller %+v, want %+v", name, s.name, i, g.NAT.Caller, caller)
		}
		if g.NAT.KTime <= last {
			t.Errorf("%s %s %d: out of order", name, s.name, i)
		}
		last = g.NAT.KTime
	}
}

// checkCounters compares with what steps did.
func checkCounters(t *testing.T, c Counters, b Backend) {
	t.Helper()
	want := Counters{
		Inserts: 9, FailedEEXIST: 1, DeletesProgram: 2, DeletesSyscall: 5, DeleteENOENT: 2,
		Sent: c.Sent, Withheld: 0,
	}
	if older(t, 5, 14) {
		want.DeletesSyscall--
		want.DeleteOther = uint64(len(untaken[b]))
	}
	if c != want {
		t.Errorf("counted %+v, want %+v", c, want)
	}
}

func comm(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
