// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// Programs in testdata/ops.bpf.c that do what they are told.
const (
	testProgram   = "tail_handle_snat_fwd_for_tests"
	unsureProgram = "tail_unsure_for_tests"
)

// newMap makes a map as Cilium's agent would and pins it below bpffs.
func newMap(t *testing.T, bpffs, name string, l layout, maxEntries uint32) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name[:min(len(name), nameMax)], Type: ebpf.LRUHash,
		KeySize: l.key, ValueSize: l.value, MaxEntries: maxEntries,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if bpffs != "" {
		pin(t, m, bpffs, name)
	}
	return m
}

// pin pins a map, in place of one that has the name already.
func pin(t *testing.T, m *ebpf.Map, bpffs, name string) {
	t.Helper()
	dir := filepath.Join(bpffs, pinFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := m.Pin(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
}

// newBPFFS returns a folder to pin maps in.
func newBPFFS(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("/sys/fs/bpf", strings.ReplaceAll(t.Name(), "/", "-"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// user is a BPF program that changes one map.
type user struct {
	objects opsObjects
	layout  layout
}

func newUser(t *testing.T, m *ebpf.Map, l layout) *user {
	t.Helper()
	spec, err := loadOps()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"target", "spare"} {
		s := spec.Maps[name]
		s.KeySize, s.ValueSize, s.MaxEntries = l.key, l.value, m.MaxEntries()
	}
	u := &user{layout: l}
	if err := spec.LoadAndAssign(&u.objects, &ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{"target": m}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.objects.Close() })
	return u
}

// do has the program do the operations, and returns them with their results.
func (u *user) do(t *testing.T, ops ...opsOp) []opsOp {
	t.Helper()
	return u.run(t, u.objects.TailHandleSnatFwdForTests, ops)
}

func (u *user) run(t *testing.T, p *ebpf.Program, ops []opsOp) []opsOp {
	t.Helper()
	keys := make([]uint32, len(ops))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := u.objects.Ops.BatchUpdate(keys, ops, nil); err != nil {
		t.Fatal(err)
	}
	if err := u.objects.OpsCount.Set(uint32(len(ops))); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
		t.Fatal(err)
	}
	done := make([]opsOp, len(ops))
	var cursor ebpf.MapBatchCursor
	if _, err := u.objects.Ops.BatchLookup(&cursor, keys, done, nil); err != nil {
		t.Fatal(err)
	}
	return done
}

const (
	doUpdate = 1
	doDelete = 2
	doLookup = 3
)

// entry is a NAT or CT entry in the test's words.
type entry struct {
	tuple correlator.Tuple
	dir   correlator.Dir
	to    correlator.Addr
}

// mapOf gives a layout tuple and addr.
func (l layout) codec() *cilium {
	return &cilium{Map: &correlator.Map{CT: l.ct}, v6: l.v6}
}

func (l layout) op(kind uint32, e entry, flags uint32) opsOp {
	op := opsOp{Kind: kind, Flags: flags}
	copy(op.Key[:], l.codec().key(e.tuple, e.dir))
	if !l.ct {
		n := 4
		if l.v6 {
			n = 16
		}
		copy(op.Value[valueTo:], e.to.IP[16-n:])
		binary.BigEndian.PutUint16(op.Value[valueTo+n:], e.to.Port)
	}
	return op
}

// addrs of the tests, by family.
func (l layout) addr(host byte, port uint16) correlator.Addr {
	ip := netip.AddrFrom4([4]byte{10, 0, 0, host})
	if l.v6 {
		ip = netip.AddrFrom16([16]byte{0xfd, 0, 15: host})
	}
	return correlator.AddrOf(netip.AddrPortFrom(ip, port))
}

// Hosts of the tests.
const (
	pod    = 1
	server = 2
	node   = 3
)

// out is the OUT entry of the connection from a pod's port, in its SNAT port.
func (l layout) out(port, snat uint16) entry {
	return entry{correlator.Tuple{Src: l.addr(pod, port), Dst: l.addr(server, 443), Protocol: correlator.TCP}, correlator.Out, l.addr(node, snat)}
}

// in is the IN entry of the same.
func (l layout) in(port, snat uint16) entry {
	return entry{correlator.Tuple{Src: l.addr(server, 443), Dst: l.addr(node, snat), Protocol: correlator.TCP}, correlator.In, l.addr(pod, port)}
}

// recorder runs a tracer and keeps what it emits.
type recorder struct {
	*Tracer
	mu     sync.Mutex
	events []correlator.Event
	hear   func(correlator.Event) // also told, if set
}

// record starts a tracer and waits until it watches n maps.
func record(t *testing.T, c Config, n int) *recorder {
	t.Helper()
	tracer, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Tracer: tracer}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- tracer.Run(ctx, r.emit) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		if err := tracer.Close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the maps are watched", func() bool { return len(tracer.Status().Maps) == n })
	return r
}

func (r *recorder) emit(e correlator.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	if r.hear != nil {
		r.hear(e)
	}
}

// take returns what came and forgets it, once everything sent was received.
func (r *recorder) take(t *testing.T) []correlator.Event {
	t.Helper()
	eventually(t, "all events arrive", func() bool {
		sent := r.stats(t).Total.Sent
		return r.stats(t).Received >= sent
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

func (r *recorder) stats(t *testing.T) Stats {
	t.Helper()
	s, err := r.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// counters returns those of one map.
func (r *recorder) of(t *testing.T, name string) Counters {
	t.Helper()
	for _, m := range r.stats(t).Maps {
		if m.Map.Name == name {
			return m.Counters
		}
	}
	t.Fatalf("map %s is not watched", name)
	return Counters{}
}

// eventually waits for up to a minute: emulated machines read symbols for seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, time.Minute, what, ok)
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s passed before %s", limit, what)
		}
	}
}
