// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"testing"

	"github.com/cilium/ebpf"
)

// TestPrivilegedSharedPlace has two maps whose ids want the same place in the
// table of watched maps. Both must be seen, also once the one that has the place
// was replaced.
func TestPrivilegedSharedPlace(t *testing.T) {
	bpffs := newBPFFS(t)
	m4 := newMap(t, bpffs, "cilium_snat_v4_external", nat4, 1024)
	r := record(t, Config{BPFFS: bpffs, Everything: true}, 1)
	places := r.kernel.collection.Maps[mapPlaces].ValueSize() / 8
	skipIDs(t, mapID(t, m4)+places-1)
	m6 := newMap(t, bpffs, "cilium_snat_v6_external", nat6, 1024)
	if mapID(t, m6)%places != mapID(t, m4)%places {
		t.Fatalf("ids %d and %d have places of their own", mapID(t, m4), mapID(t, m6))
	}
	eventually(t, "both maps are watched", func() bool { return len(r.Status().Maps) == 2 })
	insert := func(m *ebpf.Map, l layout, port uint16) {
		t.Helper()
		newUser(t, m, l).do(t, l.op(doUpdate, l.out(port, port), 0))
		if got := r.take(t); len(got) != 1 || got[0].NAT.Map.ID != mapID(t, m) || got[0].Tuple != l.out(port, port).tuple {
			t.Errorf("%d: events %+v, want one of map %d", port, got, mapID(t, m))
		}
	}
	insert(m4, nat4, 1)
	insert(m6, nat6, 2)
	successor := newMap(t, bpffs, "cilium_snat_v4_external", nat4, 1024)
	eventually(t, "the new map is watched", func() bool { return len(r.take(t)) == 1 })
	insert(m6, nat6, 3)
	insert(successor, nat4, 4)
	newUser(t, m4, nat4).do(t, nat4.op(doUpdate, nat4.out(5, 5), 0))
	if got := r.take(t); len(got) != 0 {
		t.Errorf("events %+v of a map that was replaced", got)
	}
}

// skipIDs makes maps until one gets this id.
func skipIDs(t *testing.T, id uint32) {
	t.Helper()
	for {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
		if err != nil {
			t.Fatal(err)
		}
		got := mapID(t, m)
		m.Close()
		if got >= id {
			return
		}
	}
}
