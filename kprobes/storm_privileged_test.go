// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

const (
	stormTime    = 10 * time.Second
	stormEntries = 8192
	stormRing    = 1 << 16 // small, so that it overflows
)

// TestPrivilegedStorm inserts into a full map on both CPUs as fast as they can
// and wants every event counted as sent or dropped.
func TestPrivilegedStorm(t *testing.T) {
	bpffs := newBPFFS(t)
	name := "cilium_snat_v4_external"
	m := newMap(t, bpffs, name, nat4, stormEntries)
	u := newUser(t, m, nat4)
	r := record(t, Config{BPFFS: bpffs, RingBytes: stormRing}, 1)
	before := r.stats(t).Wakeups
	begin := time.Now()
	storm(t, u.objects.Storm, stormTime)
	took := time.Since(begin)
	time.Sleep(2 * lookEvery) // the last losses are reported
	events := r.take(t)
	var evicted, inserted, lost, missed uint64
	for _, e := range events {
		switch {
		case e.Kind == correlator.KindLoss && e.Loss.From == correlator.LossKernelRing:
			lost += e.Loss.Count
		case e.Kind == correlator.KindLoss:
			missed += e.Loss.Count
		case e.NAT.Op == correlator.Evict:
			evicted++
		case e.NAT.Op == correlator.Insert:
			inserted++
		}
	}
	s := r.stats(t)
	c := r.of(t, name)
	var done [2]uint64
	if err := u.objects.StormInserts.Get(&done); err != nil {
		t.Fatal(err)
	}
	wakeups := s.Wakeups - before
	t.Logf("%d inserts, %d evictions in %s (%.0f/s): %d sent, %d dropped, %d missed; %d wakeups",
		c.Inserts, c.Evictions, took, float64(c.Evictions)/took.Seconds(), c.Sent, c.Dropped, s.Missed, wakeups)
	failed := c.FailedENOMEM + c.FailedEBUSY + c.FailedEEXIST + c.FailedOther
	if c.Inserts+s.Missed < done[0]+done[1] || c.Inserts > done[0]+done[1] {
		t.Errorf("counted %d inserts and %d missed, done were %d", c.Inserts, s.Missed, done[0]+done[1])
	}
	if sendable := c.Evictions + c.Inserts + failed - c.Withheld; c.Sent+c.Dropped != sendable {
		t.Errorf("sent %d + dropped %d, but %d were counted", c.Sent, c.Dropped, sendable)
	}
	if evicted+inserted != c.Sent || s.Received != c.Sent || lost != c.Dropped || missed != s.Missed {
		t.Errorf("received %d evictions and %d inserts, told of %d lost and %d missed; sent were %d, dropped %d, missed %d",
			evicted, inserted, lost, missed, c.Sent, c.Dropped, s.Missed)
	}
	if limit := uint64(took/pause) + 100; wakeups > limit {
		t.Errorf("%d wakeups, want at most one in %s", wakeups, pause)
	}
}

// storm runs the program on both CPUs.
func storm(t *testing.T, p *ebpf.Program, d time.Duration) {
	t.Helper()
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for cpu := range 2 {
		wg.Go(func() {
			runtime.LockOSThread()
			var set unix.CPUSet
			set.Set(cpu)
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				t.Error(err)
			}
			for time.Now().Before(end) {
				if _, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: 16}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestPrivilegedLatency times single events on an idle machine, from the
// kernel's time stamp until they are emitted.
func TestPrivilegedLatency(t *testing.T) {
	bpffs := newBPFFS(t)
	name := "cilium_snat_v4_external"
	u := newUser(t, newMap(t, bpffs, name, nat4, 1024), nat4)
	r := record(t, Config{BPFFS: bpffs, Everything: true}, 1)
	u.do(t, nat4.op(doUpdate, nat4.out(1, 1), 0)) // names the program, which takes its time
	r.take(t)
	var took []time.Duration
	tracerEmits := make(chan time.Duration, 1)
	var last uint64
	r.mu.Lock()
	r.hear = func(e correlator.Event) {
		last = e.NAT.KTime
		if at := r.CaughtUp(); at >= last {
			t.Errorf("caught up with %d before the event of %d was emitted", at, last)
		}
		tracerEmits <- time.Duration(time.Now().UnixNano() - e.Time)
	}
	r.mu.Unlock()
	for i := range uint16(50) {
		time.Sleep(4 * pause)
		u.do(t, nat4.op(doUpdate, nat4.out(i, i), 0))
		took = append(took, <-tracerEmits)
		eventually(t, "the tracer has caught up", func() bool { return r.CaughtUp() > last })
	}
	slices.Sort(took)
	t.Logf("from the kernel to emit: median %s, 9 of 10 %s, worst %s", took[len(took)/2], took[len(took)*9/10], took[len(took)-1])
	if took[len(took)/2] > 10*time.Millisecond {
		t.Error("an event on an idle machine takes more than 10 ms")
	}
}
