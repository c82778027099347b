// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"testing"

	"github.com/renat-project/renat/correlator"
)

// TestHash compares with what bpf/entry.h's hash_entry, compiled by itself, gives
// for the same pod and server.
func TestHash(t *testing.T) {
	for want, c := range map[uint64][2]string{
		0x1a520d2c5e3636d3: {"10.0.0.1:40001", "10.0.0.2:443"},
		0x1b7856f06df7e5ba: {"[fd00::1]:40001", "[fd00::2]:443"},
	} {
		tuple := correlator.Tuple{Protocol: correlator.TCP}
		for i, a := range []*correlator.Addr{&tuple.Src, &tuple.Dst} {
			var err error
			if *a, err = correlator.ParseAddr(c[i]); err != nil {
				t.Fatal(err)
			}
		}
		if got := hashOf(&tuple, c[0][0] == '['); got != want {
			t.Errorf("%s: %016x, want %016x", tuple, got, want)
		}
	}
}
