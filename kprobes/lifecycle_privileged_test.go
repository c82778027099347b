// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

// TestPrivilegedMaps follows one tracer through a node's life: no maps yet,
// maps without pins, pins, a replaced map, per-cluster maps, CT maps, and a
// clock that is set.
func TestPrivilegedMaps(t *testing.T) {
	bpffs := newBPFFS(t)
	name := "cilium_snat_v4_external"
	r := record(t, Config{BPFFS: bpffs, Everything: true}, 0)
	eventually(t, "it says that there are no maps", func() bool { // as soon as it has looked
		s := r.Status()
		return s.State == Waiting && strings.Contains(s.Problem, "waiting for its agent") && s.Backend == backends(t)[0]
	})
	decoy, err := ebpf.NewMap(&ebpf.MapSpec{Name: name[:nameMax], Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer decoy.Close()
	old := newMap(t, "", name, nat4, 1024)
	eventually(t, "an unpinned map is watched", func() bool { return r.Status().State == Watching })
	pin(t, old, bpffs, name)
	oldUser := newUser(t, old, nat4)
	oldUser.do(t, nat4.op(doUpdate, nat4.out(1, 1), 0))
	if got := r.take(t); len(got) != 1 || got[0].NAT.Map.ID != mapID(t, old) || got[0].NAT.Map.MaxEntries != 1024 {
		t.Errorf("events of the first map: %+v", got)
	}
	checkReplaced(t, r, bpffs, name, oldUser)
	checkOtherMaps(t, r, bpffs)
	checkClock(t, r, newUser(t, newMap(t, bpffs, "cilium_snat_v6_external", nat6, 64), nat6))
}

// TestPrivilegedTooManyMaps gives a node more maps of other clusters than there
// is room for: the rest is watched, and the NAT map in any case, also a new one.
func TestPrivilegedTooManyMaps(t *testing.T) {
	const room = 256
	bpffs := newBPFFS(t)
	name := "cilium_snat_v4_external"
	for cluster := range room + 1 {
		newMap(t, bpffs, fmt.Sprintf("cilium_per_cluster_snat_v4_external_%d", cluster), nat4, 1)
	}
	r := record(t, Config{BPFFS: bpffs, Everything: true}, room)
	watched := func(m *ebpf.Map) bool {
		return slices.ContainsFunc(r.Status().Maps, func(w *correlator.Map) bool { return w.ID == mapID(t, m) })
	}
	for range 2 {
		m := newMap(t, bpffs, name, nat4, 128)
		eventually(t, "the NAT map is watched", func() bool { return watched(m) })
		if s := r.Status(); len(s.Maps) != room {
			t.Errorf("%d maps are watched", len(s.Maps))
		}
		eventually(t, "it says what is left out", func() bool {
			return slices.ContainsFunc(r.Status().Degraded, func(d string) bool { return strings.HasPrefix(d, "2 maps of other clusters") })
		})
		r.take(t)
		newUser(t, m, nat4).do(t, nat4.op(doUpdate, nat4.out(1, 1), 0))
		if events := r.take(t); len(events) != 1 || events[0].NAT.Map.ID != mapID(t, m) {
			t.Errorf("events %+v", events)
		}
	}
}

func checkReplaced(t *testing.T, r *recorder, bpffs, name string, oldUser *user) {
	t.Helper()
	next := newMap(t, "", name, nat4, 2048)
	user := newUser(t, next, nat4)
	r.Tracer.mu.Lock()
	looks := r.looks
	r.Tracer.mu.Unlock()
	vain := 0
	r.mu.Lock()
	r.hear = func(e correlator.Event) { // the one that looks calls it
		if e.NAT.Op == correlator.Replaced {
			vain = r.looks - looks
		}
	}
	r.mu.Unlock()
	pin(t, next, bpffs, name)
	var replaced correlator.Event
	eventually(t, "the replaced map is noticed", func() bool {
		for _, e := range r.take(t) {
			replaced = e
		}
		return replaced.Kind != 0
	})
	if n := replaced.NAT; n.Op != correlator.Replaced || n.Map.ID != mapID(t, next) || n.Map.MaxEntries != 2048 || n.Map.Was != 1024 || n.Map.Name != name {
		t.Errorf("replaced: %+v", n)
	}
	if vain > 1 { // which had begun before
		t.Errorf("a replaced map was not noticed by %d looks", vain)
	}
	oldUser.do(t, nat4.op(doUpdate, nat4.out(2, 2), 0))
	user.do(t, nat4.op(doUpdate, nat4.out(3, 3), 0))
	if got := r.take(t); len(got) != 1 || got[0].Tuple != nat4.out(3, 3).tuple {
		t.Errorf("events after the map was replaced: %+v", got)
	}
	if to, ok, err := r.Lookup(nat4.out(3, 3).tuple, correlator.Out); err != nil || !ok || to != nat4.out(3, 3).to {
		t.Errorf("looked up %v, %v, %v", to, ok, err)
	}
	if _, ok, err := r.Lookup(nat4.out(4, 4).tuple, correlator.Out); err != nil || ok {
		t.Errorf("looked up what is not there: %v, %v", ok, err)
	}
}

func checkOtherMaps(t *testing.T, r *recorder, bpffs string) {
	t.Helper()
	inner := newMap(t, bpffs, "cilium_per_cluster_snat_v4_external_7", nat4, 64)
	ct := newMap(t, bpffs, "cilium_ct4_global", ct4, 64)
	newMap(t, bpffs, "cilium_per_cluster_snat_v4_external_x", nat4, 64) // not a cluster's id
	eventually(t, "all maps are watched", func() bool { return len(r.Status().Maps) == 3 })
	innerUser, ctUser := newUser(t, inner, nat4), newUser(t, ct, ct4)
	innerUser.do(t, nat4.op(doUpdate, nat4.out(1, 1), 0))
	ctUser.do(t, ct4.op(doUpdate, ct4.out(1, 1), 0), ct4.op(doDelete, ct4.out(1, 1), 0))
	got := r.take(t)
	if len(got) != 3 {
		t.Fatalf("%d events of other maps: %+v", len(got), got)
	}
	if n := got[0].NAT; n.Map.Name != "cilium_per_cluster_snat_v4_external_7" || n.Map.CT {
		t.Errorf("per-cluster map: %+v", n.Map)
	}
	for _, e := range got[1:] {
		if e.Tuple != ct4.out(1, 1).tuple || !e.NAT.To.IsZero() || !e.NAT.Map.CT {
			t.Errorf("CT event %v %+v", e.Tuple, e.NAT)
		}
	}
}

// checkClock sets the machine's clock and wants events to follow.
func checkClock(t *testing.T, r *recorder, u *user) {
	t.Helper()
	eventually(t, "the v6 map is watched", func() bool { return len(r.Status().Maps) == 4 })
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		set := unix.NsecToTimespec(time.Now().Add(step).UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &set); err != nil {
			t.Fatal(err)
		}
		before := time.Now().UnixNano()
		u.do(t, nat6.op(doUpdate, nat6.out(1, 1), 0))
		after := time.Now().UnixNano()
		got := r.take(t)
		if len(got) != 1 || got[0].Time < before-int64(time.Millisecond) || got[0].Time > after+int64(time.Millisecond) {
			t.Errorf("clock set by %s: an event between %d and %d says %+v", step, before, after, got)
		}
	}
}

// TestPrivilegedLayout has the tracer refuse maps it does not know.
func TestPrivilegedLayout(t *testing.T) {
	bpffs := newBPFFS(t)
	newMap(t, bpffs, "cilium_snat_v4_external", layout{key: 14, value: 48}, 64)
	tracer, err := New(Config{BPFFS: bpffs})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = tracer.Run(ctx, func(correlator.Event) {})
	want := "cilium_snat_v4_external has type LRUHash, keys of 14 and values of 48 bytes, renat knows it with type LRUHash, keys of 14 and values of 40 bytes"
	var layout *LayoutError
	if !errors.As(err, &layout) || !strings.Contains(err.Error(), want) {
		t.Errorf("Run: %v", err)
	}
}

// TestPrivilegedOccupancy compares the kernel's count, where it has one, and
// wants lookups to leave the LRU alone: the entries looked up go first. All is
// done on one CPU, as the last 128 entries that another one inserted would stay
// in its own list, whatever their age.
func TestPrivilegedOccupancy(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	onCPUs(t, 0)
	defer onCPUs(t, 0, 1)
	bpffs := newBPFFS(t)
	u := newUser(t, newMap(t, bpffs, "cilium_snat_v4_external", nat4, 2048), nat4)
	r := record(t, Config{BPFFS: bpffs}, 1)
	fill := func(from, to uint16) {
		for ; from < to; from += 256 {
			var ops []opsOp
			for i := range uint16(256) {
				ops = append(ops, nat4.op(doUpdate, nat4.out(from+i, from+i), 0))
			}
			u.do(t, ops...)
		}
	}
	fill(0, 1536)
	for i := range uint16(256) {
		if _, ok, err := r.Lookup(nat4.out(i, i).tuple, correlator.Out); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	counted, err := r.Count(t.Context(), r.Status().Maps[0].ID)
	if err != nil || counted != 1536 {
		t.Errorf("counted %d entries: %v", counted, err)
	}
	kernel, err := r.Occupancy()
	switch {
	case errors.Is(err, ErrNoCount) && older(t, 6, 8):
		t.Log(err)
	case err != nil || len(kernel) != 1 || kernel[0].Entries != counted:
		t.Errorf("the kernel counts %+v: %v", kernel, err)
	}
	fill(1536, 2560)
	lookedUp := 0
	for _, e := range r.take(t) {
		if e.NAT.Op == correlator.Evict && e.Tuple.Src.Port < 256 {
			lookedUp++
		}
	}
	if lookedUp != 256 {
		t.Errorf("%d of 256 old entries were evicted though they were only looked up by syscall", lookedUp)
	}
}
