// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

// bpftraceScript sees what renat sees: it counts updates and deletes by result,
// and prints the entry of each eviction. It does not look for the map: only the
// tests' maps are changed here, and Debian's bpftrace 0.17 crashes on the casts
// that would need.
const bpftraceScript = `kretfunc:htab_lru_map_update_elem { @update[retval] = count(); }
kretfunc:htab_lru_map_delete_elem { @delete[retval] = count(); }
kretfunc:htab_lru_map_delete_node { if (retval) { printf("%r\n", buf(args->node, 64)); } }`

const (
	overheadRounds = 2
	overheadTries  = 5  // in each round
	overheadRuns   = 40 // of 512 updates each, in each try
	updatesPerRun  = 512
)

// TestPrivilegedOverhead measures one CPU's updates of a full map, each with
// one eviction: alone, with renat in three ways, and with bpftrace. Rounds
// alternate between them; the medians are compared.
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
		{"bpftrace", bpftraced},
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
	t.Logf("renat with the filter on adds %.2f times what bpftrace adds",
		float64(added["renat, filter on"])/float64(added["bpftrace"]))
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

// bpftraced starts bpftrace and waits until all its probes are placed.
func bpftraced(t *testing.T) func() {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "bpftrace")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	before := programs(t)
	cmd := exec.Command("/usr/bin/bpftrace", "-e", bpftraceScript)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bpftrace has placed its three probes", func() bool { return programs(t) >= before+3 })
	time.Sleep(2 * time.Second) // the last program is loaded: it is being attached
	return func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		said, err := os.ReadFile(out.Name())
		if err != nil || !bytes.Contains(said, []byte("@update[0]: ")) || !bytes.Contains(said, []byte(`\x`)) {
			t.Errorf("bpftrace saw nothing (%v): %.500s", err, said)
		}
	}
}

// programs counts the BPF programs of the system.
func programs(t *testing.T) int {
	t.Helper()
	n := 0
	for id := ebpf.ProgramID(0); ; n++ {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			return n
		}
		id = next
	}
}
