// SPDX-License-Identifier: Apache-2.0

package heavy_test

import (
	"math/rand/v2"
	"testing"

	"github.com/renat-project/renat/internal/agent/heavy"
)

// TestBounds compares with exact counts of a stream in which few keys come
// often and many rarely.
func TestBounds(t *testing.T) {
	const size, events = 100, 200_000
	c := heavy.New[uint64](size)
	exact := map[uint64]uint64{}
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.2, 1, 100_000)
	for range events {
		key := zipf.Uint64()
		c.Add(key)
		exact[key]++
	}
	top := c.Top(size + 1)
	if len(top) != size {
		t.Fatalf("%d keys, want %d", len(top), size)
	}
	found := map[uint64]bool{}
	for i, k := range top {
		found[k.Key] = true
		if n := exact[k.Key]; k.N < n || k.N-k.Over > n {
			t.Errorf("key %d: %d less at most %d, but it came %d times", k.Key, k.N, k.Over, n)
		}
		if i > 0 && k.N > top[i-1].N {
			t.Error("not in order")
		}
	}
	for key, n := range exact {
		if n > events/size && !found[key] {
			t.Errorf("key %d came %d times and is missing", key, n)
		}
	}
}

func TestExactWhileThereIsRoom(t *testing.T) {
	c := heavy.New[string](3)
	for _, k := range []string{"a", "b", "a", "c", "a", "b"} {
		c.Add(k)
	}
	got := c.Top(2)
	if len(got) != 2 || got[0] != (heavy.Count[string]{Key: "a", N: 3}) || got[1] != (heavy.Count[string]{Key: "b", N: 2}) {
		t.Errorf("%v", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	c := heavy.New[uint64](1024)
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.2, 1, 1_000_000)
	keys := make([]uint64, 1<<16)
	for i := range keys {
		keys[i] = zipf.Uint64()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Add(keys[i%len(keys)])
	}
}
