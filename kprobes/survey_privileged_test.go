// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

// surveyed is a node's maps for a survey, and which of its connections lack what.
type surveyed struct {
	l, lct  layout
	nat, ct *ebpf.Map
	clock   stamps
}

// put makes a connection: its CT entry with these flags that expires after left,
// if ct, and its NAT entries, made five seconds ago.
func (s *surveyed) put(t *testing.T, port, snat uint16, ct, out, in bool, flags uint16, left time.Duration) {
	t.Helper()
	put := func(m *ebpf.Map, l layout, e entry, change func([]byte)) {
		op := l.op(doUpdate, e, 0)
		change(op.Value[:])
		if err := m.Put(op.Key[:l.key], op.Value[:l.value]); err != nil {
			t.Fatal(err)
		}
	}
	if ct {
		put(s.ct, s.lct, s.l.out(port, 0), func(v []byte) {
			binary.NativeEndian.PutUint32(v[valueCTLifetime:], uint32(s.clock.seconds+int64(left/time.Second)))
			binary.NativeEndian.PutUint16(v[valueCTFlags:], flags)
		})
	}
	made := func(v []byte) { binary.NativeEndian.PutUint64(v, uint64(s.clock.seconds-5)) }
	if out {
		put(s.nat, s.l, s.l.out(port, snat), made)
	}
	if in {
		put(s.nat, s.l, s.l.in(port, snat), made)
	}
}

const ctTracked = ctSeenNonSYN

func newSurveyed(t *testing.T, bpffs string, v6 bool) *surveyed {
	s := &surveyed{l: nat4, lct: ct4}
	names := [2]string{"cilium_snat_v4_external", "cilium_ct4_global"}
	if v6 {
		s.l, s.lct = nat6, ct6
		names = [2]string{"cilium_snat_v6_external", "cilium_ct6_global"}
	}
	s.nat, s.ct = newMap(t, bpffs, names[0], s.l, 32768), newMap(t, bpffs, names[1], s.lct, 32768)
	s.clock = newStamps(time.Millisecond)
	return s
}

// fill makes every kind of connection, and returns what a survey tells of them.
func (s *surveyed) fill(t *testing.T) (want []string) {
	t.Helper()
	left := 100 * time.Second
	for port := range uint16(5000) { // more than a batch, all well
		s.put(t, port, port, true, true, true, ctTracked, left)
	}
	s.put(t, 10001, 20001, true, false, true, ctTracked, left)
	s.put(t, 10002, 20002, true, true, false, ctTracked, left)
	s.put(t, 10003, 0, true, false, false, ctTracked, left)
	s.put(t, 10004, 20004, true, false, true, ctTracked|1, left)         // closing
	s.put(t, 10005, 20005, true, false, true, 0, left)                   // a mere SYN
	s.put(t, 10006, 20006, true, false, true, ctTracked, -2*time.Second) // expired
	s.put(t, 10007, 20007, false, false, true, 0, 0)                     // not tracked
	s.put(t, 20001, 0, true, false, false, ctTracked, left)              // its port is 10001's, whose reply entry is there
	for _, missing := range []entry{s.l.out(10001, 20001), s.l.in(10002, 20002), s.l.out(10003, 10003), s.l.in(10003, 10003)} {
		want = append(want, fmt.Sprint(missing.dir, missing.tuple, missing.to))
	}
	slices.Sort(want)
	return want
}

func eachFamily(t *testing.T, test func(*testing.T, bool)) {
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v6=%t", v6), func(t *testing.T) { test(t, v6) })
	}
}

// missingOf returns the Missing events, as fill does, and checks their times.
func missingOf(t *testing.T, events []correlator.Event) (got []string) {
	t.Helper()
	for _, ev := range events {
		if ev.NAT.Op != correlator.Missing {
			continue
		}
		got = append(got, fmt.Sprint(ev.NAT.Dir, ev.Tuple, ev.NAT.To))
		half := ev.Tuple.Src.Port != 10003 && ev.NAT.To.Port != 10003
		if age := time.Duration(ev.Time - ev.NAT.Created); half && (age < 4*time.Second || age > 5*time.Minute) || !half && ev.NAT.Created != 0 {
			t.Errorf("%s: made %s before, half=%t", ev.Tuple, age, half)
		}
	}
	slices.Sort(got)
	return got
}

// TestPrivilegedSurveyOfMaps needs maps only, no programs.
func TestPrivilegedSurveyOfMaps(t *testing.T) {
	eachFamily(t, func(t *testing.T, v6 bool) {
		s := newSurveyed(t, "", v6)
		want := s.fill(t)
		tracer, f := s.tracer(t, v6)
		var events []correlator.Event
		if err := tracer.survey(func(ev correlator.Event) { events = append(events, ev) }); err != nil {
			t.Fatal(err)
		}
		if got := missingOf(t, events); !slices.Equal(got, want) {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
		written := 0
		for _, c := range f.cells {
			if c != 0 {
				written++
			}
		}
		// Two cells for each of two hashes of the four that lack something, of
		// which two share one: the guess for the last is the first's address.
		if written != (4*2-1)*2 || tracer.missing.Load() != 3 {
			t.Errorf("%d cells written, %d connections told of", written, tracer.missing.Load())
		}
	})
}

// TestPrivilegedSurvey starts a tracer beside filled maps: what becomes of the
// connections that lack an entry is sent, of others it is not.
func TestPrivilegedSurvey(t *testing.T) {
	eachFamily(t, func(t *testing.T, v6 bool) {
		bpffs := newBPFFS(t)
		s := newSurveyed(t, bpffs, v6)
		want := s.fill(t)
		r := record(t, Config{BPFFS: bpffs}, 2)
		eventually(t, "the survey is made", func() bool { return r.stats(t).Missing == 3 })
		if got := missingOf(t, r.take(t)); !slices.Equal(got, want) {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
		u := newUser(t, s.nat, s.l)
		u.do(t, s.l.op(doUpdate, s.l.out(1, 30000), 0), // lost nothing
			s.l.op(doUpdate, s.l.out(10001, 30001), 0),                                               // re-NATted
			s.l.op(doUpdate, entry{s.l.in(0, 20002).tuple, correlator.In, s.l.addr(node, 20002)}, 0), // orphaned
			s.l.op(doUpdate, s.l.out(10003, 30003), 0))
		var ports []uint16
		for _, ev := range r.take(t) {
			ports = append(ports, ev.NAT.To.Port)
		}
		if !slices.Equal(ports, []uint16{30001, 20002, 30003}) {
			t.Errorf("inserts of %v were sent", ports)
		}
	})
}

// TestPrivilegedMapRemoved removes a map without a successor: it is let go.
func TestPrivilegedMapRemoved(t *testing.T) {
	bpffs := newBPFFS(t)
	newMap(t, bpffs, "cilium_snat_v4_external", nat4, 128)
	s := newMap(t, bpffs, "cilium_snat_v6_external", nat6, 128)
	r := record(t, Config{BPFFS: bpffs}, 2)
	if err := s.Unpin(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the map is let go", func() bool { return len(r.Status().Maps) == 1 })
	if events := r.take(t); len(events) != 0 {
		t.Errorf("events %+v", events)
	}
	newMap(t, bpffs, "cilium_snat_v6_external", nat6, 256)
	eventually(t, "the next one is watched", func() bool { return len(r.Status().Maps) == 2 })
	if events := r.take(t); len(events) != 1 || events[0].NAT.Op != correlator.Replaced || events[0].NAT.Map.MaxEntries != 256 || events[0].NAT.Map.Was != 128 {
		t.Errorf("events %+v", events)
	}
}

// BenchmarkSurvey reads a tracking map and a NAT map of half a million entries
// each: every second tracked connection is translated. It needs maps only.
func BenchmarkSurvey(b *testing.B) {
	const entries = 1 << 19
	s := &surveyed{l: nat4, lct: ct4}
	s.clock = newStamps(time.Millisecond)
	newMap := func(l layout) *ebpf.Map {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: l.key, ValueSize: l.value, MaxEntries: 2 * entries})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { m.Close() })
		return m
	}
	s.nat, s.ct = newMap(nat4), newMap(ct4)
	for n := range entries {
		s.fillOne(b, n)
	}
	tracer, _ := s.tracer(b, false)
	before := cpuTime(b)
	for b.Loop() {
		if err := tracer.survey(func(correlator.Event) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before)/time.Millisecond)/float64(b.N), "cpu-ms/op")
}

// cpuTime returns what the process has used so far.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// fillOne makes the connection number n, every second one translated.
func (s *surveyed) fillOne(t testing.TB, n int) {
	t.Helper()
	out := s.l.out(uint16(n), uint16(n))
	out.tuple.Dst = s.l.addr(byte(100+n>>16), 443)
	op := s.lct.op(doUpdate, out, 0)
	binary.NativeEndian.PutUint32(op.Value[valueCTLifetime:], uint32(s.clock.seconds+100))
	binary.NativeEndian.PutUint16(op.Value[valueCTFlags:], ctTracked)
	if err := s.ct.Put(op.Key[:s.lct.key], op.Value[:s.lct.value]); err != nil {
		t.Fatal(err)
	}
	if n%2 == 0 {
		return
	}
	in := entry{correlator.Tuple{Src: out.tuple.Dst, Dst: out.to, Protocol: correlator.TCP}, correlator.In, out.tuple.Src}
	for _, e := range []entry{out, in} {
		op := s.l.op(doUpdate, e, 0)
		if err := s.nat.Put(op.Key[:s.l.key], op.Value[:s.l.value]); err != nil {
			t.Fatal(err)
		}
	}
}

// tracer returns one that watches the maps without any program.
func (s *surveyed) tracer(t testing.TB, v6 bool) (*Tracer, *filter) {
	t.Helper()
	lines, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: cellLine, MaxEntries: 1 << 12, Flags: unix.BPF_F_MMAPABLE})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lines.Close() })
	f, err := newFilter(lines, 10, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.close() })
	return &Tracer{kernel: &kernelSide{filter: f}, snat: map[bool][16]byte{}, tick: time.Millisecond, watching: map[uint32]*cilium{
		1: {Map: &correlator.Map{Name: "nat", ID: 1}, v6: v6, fd: s.nat},
		2: {Map: &correlator.Map{Name: "ct", ID: 2, CT: true}, v6: v6, fd: s.ct},
	}}, f
}
