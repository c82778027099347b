// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// follower keeps what a trace emits.
type follower struct {
	*Trace
	mu     sync.Mutex
	events []correlator.Event
	lost   uint64
}

func follow(t *testing.T, r *recorder, s Selection) *follower {
	t.Helper()
	f := &follower{}
	var err error
	if f.Trace, err = r.Trace(f.take); err != nil {
		t.Fatal(err)
	}
	if err := f.Select(s); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *follower) take(e correlator.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Kind == correlator.KindLoss {
		f.lost += e.Loss.Count
		return
	}
	f.events = append(f.events, e)
}

// lines are the events in words, once there are n of them.
func (f *follower) lines(t *testing.T, n int) []string {
	t.Helper()
	var lines []string
	eventually(t, fmt.Sprintf("a trace has %d events", n), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		lines = nil
		for i := range f.events {
			lines = append(lines, inWords(&f.events[i]))
		}
		return len(lines) >= n
	})
	return lines
}

func inWords(e *correlator.Event) string {
	by := "nobody"
	if c := e.NAT.Caller; c != nil {
		by = c.Program
	}
	s := fmt.Sprintf("%s %s %s", e.NAT.Op, e.NAT.Dir, e.Tuple)
	if !e.NAT.To.IsZero() {
		s += " to " + e.NAT.To.String()
	}
	if e.NAT.Map.CT {
		s = "CT " + s
	}
	return fmt.Sprintf("%s errno %d by %s", s, e.NAT.Errno, by)
}

// TestPrivilegedTrace follows one connection, a pod, and a server, while all of
// them and others are changed: in both families, with both backends.
func TestPrivilegedTrace(t *testing.T) {
	for _, b := range backends(t) {
		for _, family := range []struct {
			name     string
			nat, ct  layout
			snat, tr string
		}{
			{"IPv4", nat4, ct4, "cilium_snat_v4_external", "cilium_ct4_global"},
			{"IPv6", nat6, ct6, "cilium_snat_v6_external", "cilium_ct6_global"},
		} {
			t.Run(string(b)+" "+family.name, func(t *testing.T) {
				bpffs := newBPFFS(t)
				nat := newMap(t, bpffs, family.snat, family.nat, 1024)
				ct := newMap(t, bpffs, family.tr, family.ct, 1024)
				r := record(t, Config{Backend: b, BPFFS: bpffs, Traces: true}, 2)
				logLengths(t, r.Tracer)
				traceSteps(t, r, nat, newUser(t, nat, family.nat), newUser(t, ct, family.ct))
			})
		}
	}
}

func traceSteps(t *testing.T, r *recorder, nat *ebpf.Map, u, tracked *user) {
	t.Helper()
	l, ct := u.layout, tracked.layout
	pods, servers := l.addr(pod, 0), l.addr(server, 443)
	one := follow(t, r, Selection{Pod: l.addr(pod, 40000), Server: servers, Protocol: correlator.TCP})
	pod := follow(t, r, Selection{Pod: pods, NoCT: true})
	none := follow(t, r, Selection{Pod: pods, Server: servers, Protocol: correlator.UDP})
	elsewhere := follow(t, r, Selection{Pod: l.addr(pod9, 0), Server: l.addr(server, 0)})

	other := l.out(40000, 41000)
	other.tuple.Src = l.addr(pod9, 40000)
	hosted := l.in(40000, 50000)
	hosted.to = hosted.tuple.Dst
	u.do(t,
		l.op(doUpdate, l.in(40000, 50000), 1), l.op(doUpdate, l.out(40000, 50000), 1),
		l.op(doUpdate, l.in(40001, 50001), 1), l.op(doUpdate, l.out(40001, 50001), 1),
		l.op(doUpdate, other, 1),
		l.op(doUpdate, l.in(40000, 50000), 1), // collides
		l.op(doDelete, l.out(40000, 50000), 0),
		l.op(doDelete, l.out(40000, 50000), 0), // there is none
	)
	tracked.do(t, ct.op(doUpdate, ct.out(40000, 0), 0), ct.op(doUpdate, ct.out(40001, 0), 0), ct.op(doDelete, ct.out(40000, 0), 0))
	if err := nat.Delete(l.codec().key(l.in(40000, 50000).tuple, correlator.In)); err != nil {
		t.Fatal(err)
	}
	u.do(t, l.op(doUpdate, hosted, 1))

	in, out := l.in(40000, 50000), l.out(40000, 50000)
	inserted := func(e entry, errno int) string {
		return fmt.Sprintf("insert %s %s to %s errno %d by %s", e.dir, e.tuple, e.to, errno, testProgram)
	}
	deleted := fmt.Sprintf("delete IN %s to %s errno 0 by syscall", in.tuple, in.to)
	if r.Status().Backend == Kprobe {
		deleted = fmt.Sprintf("delete IN %s errno 0 by syscall", in.tuple)
	}
	first := []string{inserted(in, 0), inserted(out, 0)}
	second := []string{inserted(l.in(40001, 50001), 0), inserted(l.out(40001, 50001), 0)}
	gone := []string{
		inserted(in, 17),
		fmt.Sprintf("delete OUT %s to %s errno 0 by %s", out.tuple, out.to, testProgram),
		fmt.Sprintf("delete OUT %s errno 2 by %s", out.tuple, testProgram),
	}
	connection := []string{
		fmt.Sprintf("CT insert OUT %s errno 0 by %s", out.tuple, testProgram),
		fmt.Sprintf("CT delete OUT %s errno 0 by %s", out.tuple, testProgram),
	}
	rest := []string{deleted, inserted(hosted, 0)}
	for name, want := range map[*follower][]string{
		one:       slices.Concat(first, gone, connection, rest),
		pod:       slices.Concat(first, second, gone, rest),
		elsewhere: {inserted(other, 0)},
		none:      nil,
	} {
		got := name.lines(t, len(want))
		if !slices.Equal(got, want) {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
	}
}

const pod9 = 9

// TestPrivilegedTraceEvictions wants each eviction of a pod's entries, in use
// lately or not, and none of another's.
func TestPrivilegedTraceEvictions(t *testing.T) {
	for _, b := range backends(t) {
		t.Run(string(b), func(t *testing.T) {
			bpffs := newBPFFS(t)
			m := newMap(t, bpffs, "cilium_snat_v4_external", nat4, 512)
			u := newUser(t, m, nat4)
			r := record(t, Config{Backend: b, BPFFS: bpffs, Traces: true}, 1)
			f := follow(t, r, Selection{Pod: nat4.addr(pod, 0)})
			out := nat4.out(40000, 50000)
			u.do(t, nat4.op(doUpdate, out, 1))
			for port := uint16(1); port < 4096; port++ {
				e := nat4.out(port, port)
				e.tuple.Src = nat4.addr(pod9, port)
				u.do(t, nat4.op(doUpdate, e, 1))
			}
			got := f.lines(t, 2)
			want := []string{
				fmt.Sprintf("insert OUT %s to %s errno 0 by %s", out.tuple, out.to, testProgram),
				fmt.Sprintf("evict OUT %s to %s errno 0 by nobody", out.tuple, out.to),
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestPrivilegedTraceBounds has a trace that is too busy count what it drops,
// and the others run on; there are eight at most; and one that ends leaves
// nothing to the next in its place.
func TestPrivilegedTraceBounds(t *testing.T) {
	bpffs := newBPFFS(t)
	m := newMap(t, bpffs, "cilium_snat_v4_external", nat4, 1<<16)
	u := newUser(t, m, nat4)
	r := record(t, Config{BPFFS: bpffs, Traces: true}, 1)
	busy := follow(t, r, Selection{Pod: nat4.addr(pod, 0)})
	quiet := follow(t, r, Selection{Pod: nat4.addr(pod, 1500)})
	const connections = 4000
	for port := uint16(1); port <= connections; {
		var ops []opsOp
		for ; port <= connections && len(ops) < 500; port++ {
			ops = append(ops, nat4.op(doUpdate, nat4.out(port, port), 1))
		}
		u.do(t, ops...)
	}
	eventually(t, "sent and dropped are all", func() bool {
		busy.mu.Lock()
		defer busy.mu.Unlock()
		return uint64(len(busy.events))+busy.lost == connections
	})
	if busy.lost == 0 || len(busy.events) < 256 {
		t.Errorf("%d events, %d dropped: nothing bounds it, or too much", len(busy.events), busy.lost)
	}
	if got := quiet.lines(t, 1); len(got) != 1 || quiet.lost != 0 {
		t.Errorf("the quiet one got %q and lost %d", got, quiet.lost)
	}

	var more []*follower
	for range maxTraces - 2 {
		more = append(more, follow(t, r, Selection{Protocol: correlator.UDP}))
	}
	if _, err := r.Trace(busy.take); !errors.Is(err, ErrTraces) {
		t.Errorf("one more: %v", err)
	}
	if err := quiet.Close(); err != nil {
		t.Fatal(err)
	}
	next := follow(t, r, Selection{Pod: nat4.addr(pod9, 1500)})
	time.Sleep(1 << 27) // the busy one's budget is new
	in := nat4.in(1500, 1500)
	other := nat4.out(1500, 1501)
	other.tuple.Src = nat4.addr(pod9, 1500)
	u.do(t, nat4.op(doUpdate, in, 1), nat4.op(doUpdate, other, 1)) // a port that only quiet knew
	if got := next.lines(t, 1); len(got) != 1 || got[0] != fmt.Sprintf("insert OUT %s to %s errno 0 by %s", other.tuple, other.to, testProgram) {
		t.Errorf("the next in its place got %q", got)
	}
	for _, f := range append(more, busy, next) {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if r.traces.bits != 0 {
		t.Errorf("the programs still compare: %x", r.traces.bits)
	}
	var scale uint64
	if err := r.kernel.collection.Variables[watchVarFilterGlanceScale].Get(&scale); err != nil || scale != filterScale(r.kernel.filter.shift) {
		t.Errorf("the programs still look for traces: scale %d, %v", scale, err)
	}
	marks := make([]byte, len(traceMarkedPorts{})+len(traceMarkedPods{}))
	memory, err := r.kernel.collection.Maps[bss].Memory()
	if err == nil {
		_, err = memory.ReadAt(marks, int64(r.kernel.traceMarks))
	}
	if err != nil || slices.Contains(marks, 1) {
		t.Errorf("marks are left: %v", err)
	}
}
