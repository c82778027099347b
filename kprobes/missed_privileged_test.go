// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"slices"
	"testing"

	"github.com/renat-project/renat/correlator"
)

// TestPrivilegedMissedReturn has the kernel miss the return of a delete in a
// watched map, as it does when too many calls are in flight. What the entry probe
// noted of it must not be taken for that of a call from the same place on the
// stack, of another map: an event of a key that is not there any more.
func TestPrivilegedMissedReturn(t *testing.T) {
	ownThread(t)
	l, bpffs := nat4, newBPFFS(t)
	watched := newUser(t, newMap(t, bpffs, "cilium_snat_v4_external", l, 64), l)
	other := newUser(t, newMap(t, "", "another_lru_map", l, 64), l)
	r := record(t, Config{Backend: Kprobe, Everything: true, BPFFS: bpffs}, 1)
	hooks := kprobeHooks()
	at := slices.IndexFunc(hooks, func(h hook) bool { return h.program == watchProgDeleteReturn })
	// Where the kernel moves its stack about, the two calls meet by chance.
	for range 1000 {
		if err := r.kernel.links[at].Close(); err != nil {
			t.Fatal(err)
		}
		watched.do(t, l.op(doDelete, first(l), 0))
		again, err := hooks[at].attach(r.kernel.collection.Programs[watchProgDeleteReturn])
		if err != nil {
			t.Fatal(err)
		}
		r.kernel.links[at] = again
		before := r.stats(t).Missed
		other.do(t, l.op(doDelete, second(l), 0))
		for _, e := range r.take(t) {
			if e.Kind == correlator.KindNAT {
				t.Fatalf("a delete in another map became %+v", e)
			}
		}
		if r.stats(t).Missed > before {
			return
		}
	}
	t.Error("no call came to where a return was missed")
}
