// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"slices"
	"testing"

	"github.com/renat-project/renat/correlator"
)

const (
	// forcedEntries is the size of the map, forcedFirst how many fit without an
	// eviction: each of two CPUs may keep 128 free entries to itself.
	forcedEntries = 512
	forcedFirst   = forcedEntries - 2*128
	// forcedWanted is how many forced evictions are waited for.
	forcedWanted = 16
)

// TestPrivilegedForced has a program look up every entry before each insert, so
// that the kernel finds none that was not used lately. Every eviction must be a
// forced one.
func TestPrivilegedForced(t *testing.T) {
	for _, b := range backends(t) {
		t.Run(string(b), func(t *testing.T) {
			bpffs := newBPFFS(t)
			name, l := "cilium_snat_v4_external", nat4
			u := newUser(t, newMap(t, bpffs, name, l, forcedEntries), l)
			r := record(t, Config{Backend: b, BPFFS: bpffs}, 1)
			var inserts, lookups []opsOp
			for i := range uint16(2 * forcedEntries) {
				e := l.out(10000+i, 10000+i)
				inserts, lookups = append(inserts, l.op(doUpdate, e, 1)), append(lookups, l.op(doLookup, e, 0))
			}
			u.do(t, inserts[:forcedFirst]...)
			evicted := uint64(0)
			for n := forcedFirst; evicted < forcedWanted && n < len(inserts); n++ {
				for some := range slices.Chunk(lookups[:n], 512) {
					u.do(t, some...)
				}
				u.do(t, inserts[n])
				evicted = r.of(t, name).Evictions
			}
			c := r.of(t, name)
			if c.Evictions < forcedWanted || c.Forced != c.Evictions {
				t.Errorf("%d evictions, %d of them forced; want %d, all forced", c.Evictions, c.Forced, forcedWanted)
			}
			events := r.take(t)
			if uint64(len(events)) != c.Evictions {
				t.Errorf("%d events of %d evictions", len(events), c.Evictions)
			}
			for _, e := range events {
				if e.NAT.Op != correlator.Evict || !e.NAT.Forced {
					t.Errorf("%+v is no forced eviction", e.NAT)
				}
			}
		})
	}
}
