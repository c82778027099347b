// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"maps"
	"testing"

	"github.com/renat-project/renat/correlator"
)

// TestPrivilegedKeys reads more entries than fit into a batch.
func TestPrivilegedKeys(t *testing.T) {
	for name, l := range map[string]layout{"cilium_snat_v4_external": nat4, "cilium_snat_v6_external": nat6} {
		t.Run(name, func(t *testing.T) { readKeysOf(t, name, l) })
	}
}

func readKeysOf(t *testing.T, name string, l layout) {
	bpffs := newBPFFS(t)
	m := newMap(t, bpffs, name, l, 32768)
	want := map[correlator.Tuple]correlator.Dir{}
	for port := range uint16(5000) {
		for _, e := range []entry{l.out(port, port), l.in(port, port)} {
			op := l.op(doUpdate, e, 0)
			if err := m.Put(op.Key[:l.key], op.Value[:l.value]); err != nil {
				t.Fatal(err)
			}
			want[e.tuple] = e.dir
		}
	}
	r := record(t, Config{BPFFS: bpffs}, 1)
	got := map[correlator.Tuple]correlator.Dir{}
	err := r.Keys(t.Context(), r.Status().Maps[0].ID, func(tuple correlator.Tuple, d correlator.Dir) { got[tuple] = d })
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %d keys of %d", err, len(got), len(want))
	}
	if err := r.Keys(t.Context(), 0, nil); err == nil {
		t.Error("a map that is not watched was read")
	}
}

func TestPrivilegedOpen(t *testing.T) {
	bpffs := newBPFFS(t)
	newMap(t, bpffs, "cilium_snat_v4_external", nat4, 128)
	ct := newMap(t, bpffs, "cilium_ct4_global", ct4, 128)
	for port, flags := range []byte{0, 1, 2, 3, 3 | 1<<4} {
		op := ct4.op(doUpdate, ct4.out(uint16(port), 0), 0)
		op.Value[valueCTFlags] = flags
		if err := ct.Put(op.Key[:ct4.key], op.Value[:ct4.value]); err != nil {
			t.Fatal(err)
		}
	}
	r := record(t, Config{BPFFS: bpffs}, 2)
	for port, want := range []bool{true, true, true, false, false, false} {
		if open, err := r.Open(nat4.out(uint16(port), 0).tuple); err != nil || open != want {
			t.Errorf("connection %d: %t, %v", port, open, err)
		}
	}
}
