// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/renat-project/renat/correlator"
)

func mustAddr(t *testing.T, s string) correlator.Addr {
	t.Helper()
	a, err := correlator.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestKeys reads keys as Cilium writes them and writes them again.
func TestKeys(t *testing.T) {
	nat := []byte{192, 0, 2, 1, 10, 0, 1, 10, 0x01, 0xbb, 0x9c, 0x40, 6, 0}
	ct := []byte{10, 0, 1, 10, 192, 0, 2, 1, 0x01, 0xbb, 0x9c, 0x40, 6, 0}
	want := correlator.Tuple{Src: mustAddr(t, "10.0.1.10:40000"), Dst: mustAddr(t, "192.0.2.1:443"), Protocol: correlator.TCP}
	v6 := make([]byte, key6Size)
	v6[0], v6[15], v6[16], v6[31], v6[33], v6[35], v6[36], v6[37] = 0xfd, 2, 0xfd, 1, 53, 99, 17, 1
	want6 := correlator.Tuple{Src: mustAddr(t, "[fd00::1]:99"), Dst: mustAddr(t, "[fd00::2]:53"), Protocol: correlator.UDP}
	for _, c := range []struct {
		name string
		m    cilium
		key  []byte
		want correlator.Tuple
		dir  correlator.Dir
	}{
		{"NAT", cilium{Map: &correlator.Map{}}, nat, want, correlator.Out},
		{"CT", cilium{Map: &correlator.Map{CT: true}}, ct, want, correlator.Out},
		{"NAT v6", cilium{Map: &correlator.Map{}, v6: true}, v6, want6, correlator.In},
	} {
		tuple, dir := c.m.tuple(c.key)
		if tuple != c.want || dir != c.dir {
			t.Errorf("%s: %v %v, want %v %v", c.name, tuple, dir, c.want, c.dir)
		}
		if key := c.m.key(tuple, dir); string(key) != string(c.key) {
			t.Errorf("%s: key % x, want % x", c.name, key, c.key)
		}
	}
}

// TestChange converts a whole event.
func TestChange(t *testing.T) {
	m := &cilium{Map: &correlator.Map{Name: "cilium_snat_v4_external"}}
	e := watchEvent{Ktime: 5, Error: 17, Op: 1, Cpu: 3, UpdateFlags: 1, Flags: 1 | 8}
	copy(e.To[:], []byte{10, 0, 1, 10, 0x9c, 0x40})
	got := change(&e, m, 1000, time.Millisecond)
	if got.Time != 1005 || got.NAT.KTime != 5 || got.NAT.Errno != 17 || got.NAT.CPU != 3 || got.NAT.Flags != 1 ||
		!got.NAT.Forced || got.NAT.Op != correlator.Insert || got.NAT.To != mustAddr(t, "10.0.1.10:40000") || got.NAT.Map != m.Map {
		t.Errorf("got %+v", got)
	}
	e.Flags = 0
	if got := change(&e, m, 0, time.Millisecond); !got.NAT.To.IsZero() || got.NAT.Forced {
		t.Errorf("without a value: %+v", got.NAT)
	}
}

// TestCreated takes an entry's age from either of the clocks that Cilium stamps with.
func TestCreated(t *testing.T) {
	m := &cilium{Map: &correlator.Map{}}
	second := uint64(time.Second)
	for _, c := range []struct {
		flags uint32
		age   uint32
		want  int64
	}{
		{0, 9, 0},
		{uint32(watchEventFlagEVENT_AGED), 41, int64(1000 + 59*second)},
		{uint32(watchEventFlagEVENT_AGED), 0, int64(1000 + 100*second)},
		{uint32(watchEventFlagEVENT_AGED | watchEventFlagEVENT_TICKS), 10, int64(1000 + 100*second + 7 - 10*1024*uint64(time.Millisecond))},
	} {
		e := watchEvent{Ktime: 100*second + 7, Op: uint8(watchEventOpOP_EVICT), Flags: uint8(c.flags), Age: c.age}
		if got := change(&e, m, 1000, 4*time.Millisecond).NAT.Created; got != c.want {
			t.Errorf("flags %d, age %d: made at %d, want %d", c.flags, c.age, got, c.want)
		}
	}
}

// TestParse refuses what is no event of this version.
func TestParse(t *testing.T) {
	var e watchEvent
	raw := make([]byte, eventSize)
	if err := parse(raw, &e); err == nil {
		t.Error("version 0 was taken")
	}
	raw[unsafe.Offsetof(e.Abi)] = eventABI
	if err := parse(raw, &e); err != nil {
		t.Error(err)
	}
	if err := parse(raw[:eventSize-1], &e); err == nil {
		t.Error("a short event was taken")
	}
}

func TestConfig(t *testing.T) {
	if _, err := (Config{}).withDefaults(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{Backend: "uprobe"}, {RingBytes: 5000}, {RingBytes: 64}, {FilterBytes: 96}} {
		if _, err := c.withDefaults(); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// BenchmarkDeliver is what an event costs that was read from the ring buffer.
func BenchmarkDeliver(b *testing.B) {
	m := &cilium{Map: &correlator.Map{ID: 7, Name: "cilium_snat_v4_external"}}
	t := &Tracer{watching: map[uint32]*cilium{7: m}}
	e := watchEvent{Ktime: 5, Map: 7, Abi: eventABI, Op: uint8(watchEventOpOP_EVICT), Flags: uint8(watchEventFlagEVENT_VALUE)}
	record := ringbuf.Record{RawSample: unsafe.Slice((*byte)(unsafe.Pointer(&e)), eventSize)}
	var read watchEvent
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		t.deliver(&record, &read, 1000, func(correlator.Event) { n++ })
	}
	if n == 0 || t.undecodable.Load() != 0 {
		b.Error("no event was delivered")
	}
}
