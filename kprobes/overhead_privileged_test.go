// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

const (
	overheadRounds = 3
	overheadBursts = 20 // in each round
	burstUpdates   = 512

	filterOn = "renat, filter on"
)

// way is one way to watch a map while it is changed.
type way struct {
	name  string
	start func(t *testing.T) watcher
}

// watcher is what watches.
type watcher struct {
	pid  int        // of the process that reads the events; 0 if none
	seen func() int // the evictions it read so far; nil if it does not look for them
	stop func()     // ends it, and fails if it lost something
}

// TestPrivilegedOverhead measures one CPU's updates of a full map, each with
// one eviction: alone, with renat in several ways, and with bpftrace if it is there. Whoever
// reads the events does so on the other CPU. Rounds alternate between the ways;
// the medians of all bursts are compared. In a machine that counts instructions
// a nanosecond is one.
func TestPrivilegedOverhead(t *testing.T) {
	bpffs := newBPFFS(t)
	m := newMap(t, bpffs, "cilium_snat_v4_external", nat4, stormEntries)
	u := newUser(t, m, nat4)
	elsewhere := newBPFFS(t) + "-unwatched"
	newMap(t, elsewhere, "cilium_snat_v4_external", nat4, 64)
	unwatched := func(t *testing.T) watcher {
		w := traced(Config{BPFFS: elsewhere})(t)
		w.seen = nil
		return w
	}
	const alone = "alone"
	ways := []way{
		{alone, func(*testing.T) watcher { return watcher{stop: func() {}} }},
		{"renat, map not watched", unwatched},
		{filterOn, traced(Config{BPFFS: bpffs})},
		{"renat, everything sent", traced(Config{BPFFS: bpffs, Everything: true})},
		{"renat by kprobe, filter on", traced(Config{BPFFS: bpffs, Backend: Kprobe})},
	}
	if _, err := os.Stat(bpftrace); err == nil {
		id := mapID(t, m)
		ways = append(ways, way{"bpftrace, prints evictions", bpftraced(printEvictions, id)}, way{"bpftrace, and remembers them", bpftraced(rememberEvictions, id)})
	}
	took := compare(t, u, ways)
	added := func(name string) float64 { return float64(took[name] - took[alone]) }
	for _, w := range ways {
		if strings.HasPrefix(w.name, "bpftrace") {
			t.Logf("renat with the filter on adds %.2f times what %q adds", added(filterOn)/added(w.name), w.name)
		}
	}
}

// TestPrivilegedTraceOverhead measures in the same way what traces of one
// connection, and of one pod, add to the updates of others.
func TestPrivilegedTraceOverhead(t *testing.T) {
	bpffs := newBPFFS(t)
	m := newMap(t, bpffs, "cilium_snat_v4_external", nat4, stormEntries)
	config := Config{BPFFS: bpffs, Traces: true}
	const noTrace = "renat, no trace running"
	ways := []way{
		{filterOn, traced(Config{BPFFS: bpffs})},
		{noTrace, traced(config)},
		{"renat, a connection traced", traced(config, Selection{
			Pod: nat4.addr(pod, 40000), Server: nat4.addr(server, 443), Protocol: correlator.TCP,
		})},
		{"renat, a pod traced", traced(config, Selection{Pod: nat4.addr(pod, 0)})},
	}
	took := compare(t, newUser(t, m, nat4), ways)
	for _, w := range ways {
		t.Logf("%q takes %.1f %% more than %q", w.name, 100*float64(took[w.name]-took[noTrace])/float64(took[noTrace]), noTrace)
	}
}

// compare fills a map, and returns the median time of an update in each way to
// watch it.
func compare(t *testing.T, u *user, ways []way) map[string]time.Duration {
	t.Helper()
	for range stormEntries / burstUpdates * 2 {
		burst(t, u.objects.Storm)
	}
	bursts := map[string][]time.Duration{}
	for range overheadRounds {
		for _, w := range ways {
			bursts[w.name] = append(bursts[w.name], measure(t, w, u.objects.Storm)...)
		}
	}
	took := map[string]time.Duration{}
	for _, w := range ways {
		b := bursts[w.name]
		took[w.name] = quantile(b, 50)
		t.Logf("%-28s %6d ns per update (of ten bursts nine within %d to %d), %6d ns more than %s", w.name,
			quantile(b, 50), quantile(b, 5), quantile(b, 95), took[w.name]-took[ways[0].name], ways[0].name)
	}
	return took
}

// measure returns the time of one update in each burst.
func measure(t *testing.T, w way, p *ebpf.Program) (bursts []time.Duration) {
	t.Helper()
	watcher := w.start(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer onCPUs(t, 0, 1) // a child would inherit it
	for _, pid := range []int{os.Getpid(), watcher.pid} {
		for _, tid := range threads(t, pid) {
			threadOnCPUs(t, tid, 1)
		}
	}
	onCPUs(t, 0)
	for range overheadBursts {
		bursts = append(bursts, burst(t, p))
		watcher.drain(t, len(bursts)*burstUpdates)
	}
	watcher.stop()
	return bursts
}

// drain waits until the watcher has read what it was to see: events that are
// lost cost nothing, and shall not win a comparison.
func (w watcher) drain(t *testing.T, evictions int) {
	t.Helper()
	if w.seen != nil {
		within(t, time.Minute, "all evictions are read", func() bool { return w.seen() >= evictions })
	}
}

// burst returns the time of one update, as the kernel measures it.
func burst(t *testing.T, p *ebpf.Program) time.Duration {
	t.Helper()
	_, took, err := p.Benchmark(make([]byte, 64), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return took / burstUpdates
}

func quantile(d []time.Duration, percent int) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)*percent/100]
}

// threads returns the threads of a process, none of process 0.
func threads(t *testing.T, pid int) (tids []int) {
	t.Helper()
	if pid == 0 {
		return nil
	}
	folders, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		tid, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		tids = append(tids, tid)
	}
	return tids
}

// onCPUs says where this thread may run.
func onCPUs(t *testing.T, cpus ...int) {
	t.Helper()
	threadOnCPUs(t, 0, cpus...)
}

func threadOnCPUs(t *testing.T, tid int, cpus ...int) {
	t.Helper()
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
		t.Fatal(err)
	}
}

// traced watches with a tracer, while the traces run.
func traced(c Config, traces ...Selection) func(t *testing.T) watcher {
	return func(t *testing.T) watcher {
		t.Helper()
		tracer, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		var evictions atomic.Int64
		go func() {
			done <- tracer.Run(ctx, func(e correlator.Event) {
				if e.Kind == correlator.KindNAT && e.NAT.Op == correlator.Evict {
					evictions.Add(1)
				}
			})
		}()
		eventually(t, "the map is watched", func() bool { return tracer.Status().State == Watching })
		for _, s := range traces {
			tr, err := tracer.Trace(func(correlator.Event) {})
			if err == nil {
				err = tr.Select(s)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		seen := func() int { return int(evictions.Load()) }
		return watcher{pid: os.Getpid(), seen: seen, stop: func() {
			t.Helper()
			if s, err := tracer.Stats(); err != nil || s.Total.Dropped+s.Missed != 0 {
				t.Errorf("%v: dropped %d, missed %d", err, s.Total.Dropped, s.Missed)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := tracer.Close(); err != nil {
				t.Error(err)
			}
		}}
	}
}
