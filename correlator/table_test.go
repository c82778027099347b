// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"math/rand/v2"
	"testing"
)

// TestTableAgreesWithMaps does random operations on a small table and on plain
// maps, with few distinct tuples so that places collide and gaps close.
func TestTableAgreesWithMaps(t *testing.T) {
	const limit = 50
	rng := rand.New(rand.NewPCG(1, 1))
	table := newTable(limit)
	byTuple, byReply := map[Tuple]ref{}, map[Tuple]ref{}
	forget := func(r ref) { forgetFrom(t, table, r, byTuple, byReply) }
	for step := range 200_000 {
		tuple := Tuple{Src: Addr{Port: uint16(rng.IntN(100))}, Dst: Addr{Port: 1}, Protocol: TCP}
		r := byTuple[tuple]
		if got := table.lookup(&tuple); got != r {
			t.Fatalf("step %d: lookup = %d, want %d", step, got, r)
		}
		switch op := rng.IntN(4); {
		case r == 0:
			r = table.add(&tuple, forget)
			byTuple[tuple] = r
		case op == 0:
			table.at(r).flags |= used
		default:
			c := table.at(r)
			if old := c.replyKey(); byReply[old] == r {
				delete(byReply, old)
			}
			table.setSNAT(r, Addr{Port: uint16(1 + rng.IntN(60))})
			byReply[c.replyKey()] = r
		}
		key := Tuple{Src: Addr{Port: 1}, Dst: Addr{Port: uint16(1 + rng.IntN(60))}, Protocol: TCP}
		if got := table.lookupReply(&key); got != byReply[key] {
			t.Fatalf("step %d: lookupReply = %d, want %d", step, got, byReply[key])
		}
		if int(table.live) != len(byTuple) || table.live > limit {
			t.Fatalf("step %d: %d live, want %d", step, table.live, len(byTuple))
		}
	}
}

func forgetFrom(t *testing.T, table *table, r ref, byTuple, byReply map[Tuple]ref) {
	t.Helper()
	c := table.at(r)
	if byTuple[c.tuple] != r {
		t.Fatalf("forgets %v, which is not in the table", c.tuple)
	}
	delete(byTuple, c.tuple)
	if byReply[c.replyKey()] == r {
		delete(byReply, c.replyKey())
	}
}
