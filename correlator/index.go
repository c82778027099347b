// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// ref is the number of a connection in the table; 0 is none.
type ref uint32

// index finds connections by a tuple that they hold themselves, so that it
// costs 4 bytes a place: open addressing, linear probing, no tombstones.
type index struct {
	places []ref
	seed   uint64
	key    func(ref) Tuple // the tuple a connection is found by
}

// newIndex returns an index for up to n connections.
func newIndex(n int, key func(ref) Tuple) index {
	size := 1 << bits.Len(uint(n+n/2)) // at most two thirds full
	return index{places: make([]ref, size), seed: rand.Uint64(), key: key}
}

// home is the place a tuple would have in an empty index. The seed keeps pods,
// who choose their tuples, from choosing collisions.
func (x *index) home(t Tuple) int {
	h := x.seed
	for _, w := range [...]uint64{
		binary.LittleEndian.Uint64(t.Src.IP[:8]), binary.LittleEndian.Uint64(t.Src.IP[8:]),
		binary.LittleEndian.Uint64(t.Dst.IP[:8]), binary.LittleEndian.Uint64(t.Dst.IP[8:]),
		uint64(t.Src.Port)<<32 | uint64(t.Dst.Port)<<16 | uint64(t.Protocol),
	} {
		hi, lo := bits.Mul64(h^w, 0x9e3779b97f4a7c15^x.seed|1)
		h = hi ^ lo
	}
	return int(h & uint64(len(x.places)-1))
}

// find returns the connection of t and its place, or 0 and the free place
// where put would set it.
func (x *index) find(t *Tuple) (ref, int) {
	mask := len(x.places) - 1
	for i := x.home(*t); ; i = (i + 1) & mask {
		r := x.places[i]
		if r == 0 || x.key(r) == *t {
			return r, i
		}
	}
}

// remove empties the place of t, if r holds it, and closes the gap.
func (x *index) remove(t *Tuple, r ref) {
	holder, gap := x.find(t)
	if holder != r {
		return
	}
	mask := len(x.places) - 1
	for i := (gap + 1) & mask; x.places[i] != 0; i = (i + 1) & mask {
		k := x.key(x.places[i])
		// A connection may move to the gap unless its home lies behind it.
		if (i-x.home(k))&mask >= (i-gap)&mask {
			x.places[gap] = x.places[i]
			gap = i
		}
	}
	x.places[gap] = 0
}
