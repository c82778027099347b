// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

const (
	overheadRounds = 2
	overheadTries  = 5  // in each round
	overheadRuns   = 40 // of 512 updates each, in each try
	updatesPerRun  = 512
)

// TestPrivilegedOverhead measures one CPU's updates of a full map, each with
// one eviction: alone, and with renat in four ways. Rounds alternate between
// them; the medians are compared.
func TestPrivilegedOverhead(t *testing.T) {
	bpffs := newBPFFS(t)
	m := newMap(t, bpffs, "cilium_snat_v4_external", nat4, stormEntries)
	u := newUser(t, m, nat4)
	elsewhere := newBPFFS(t) + "-unwatched"
	newMap(t, elsewhere, "cilium_snat_v4_external", nat4, 64)
	ways := []struct {
		name  string
		start func(t *testing.T) (stop func())
	}{
		{"without renat", func(*testing.T) func() { return func() {} }},
		{"renat, map not watched", func(t *testing.T) func() { return traced(t, Config{BPFFS: elsewhere}) }},
		{"renat, filter on", func(t *testing.T) func() { return traced(t, Config{BPFFS: bpffs}) }},
		{"renat, everything", func(t *testing.T) func() { return traced(t, Config{BPFFS: bpffs, Everything: true}) }},
		{"renat by kprobe, filter on", func(t *testing.T) func() { return traced(t, Config{BPFFS: bpffs, Backend: Kprobe}) }},
	}
	measure(t, u.objects.Storm) // fills the map
	took := map[string][]time.Duration{}
	for range overheadRounds {
		for _, w := range ways {
			stop := w.start(t)
			for range overheadTries {
				took[w.name] = append(took[w.name], measure(t, u.objects.Storm))
			}
			stop()
		}
	}
	alone := median(took[ways[0].name])
	added := map[string]time.Duration{}
	for _, w := range ways {
		added[w.name] = median(took[w.name]) - alone
		t.Logf("%-28s %6d ns per update, adds %6d ns (%v to %v)",
			w.name, median(took[w.name]), added[w.name], slices.Min(took[w.name]), slices.Max(took[w.name]))
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2]
}

// measure returns the time of one update.
func measure(t *testing.T, p *ebpf.Program) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	onCPUs(t, 0)
	defer onCPUs(t, 0, 1) // a child would inherit it
	options := &ebpf.RunOptions{Data: make([]byte, 64), Repeat: overheadRuns}
	begin := time.Now()
	if _, err := p.Run(options); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin) / (overheadRuns * updatesPerRun)
}

// onCPUs says where this thread may run.
func onCPUs(t *testing.T, cpus ...int) {
	t.Helper()
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
}

// traced starts a tracer and waits until it watches its map.
func traced(t *testing.T, c Config) func() {
	t.Helper()
	tracer, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- tracer.Run(ctx, func(correlator.Event) {}) }()
	eventually(t, "the map is watched", func() bool { return tracer.Status().State == Watching })
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := tracer.Close(); err != nil {
			t.Error(err)
		}
	}
}
