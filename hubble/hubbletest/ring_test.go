// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
)

func TestBehind(t *testing.T) {
	for name, c := range map[string]struct {
		capacity, write int
		want            int64
	}{
		"the newest is withheld":    {8, 5, 4},
		"what is lost is not to do": {3, 10, 3},
	} {
		r := newRing(c.capacity)
		rd := r.open(span{first: true}, nil)
		for range c.write {
			if err := r.put(entry{flow: &flow.Flow{}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.behind(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		for wait := (<-chan struct{})(nil); wait == nil; {
			_, _, wait = rd.read(make([]entry, 2))
		}
		if got := r.behind(); got != 0 {
			t.Errorf("%s: %d when all was read", name, got)
		}
		rd.close()
		if r.put(entry{flow: &flow.Flow{}}) != nil || r.behind() != 0 {
			t.Errorf("%s: %d without a reader", name, r.behind())
		}
	}
}
