// SPDX-License-Identifier: Apache-2.0

// Package heavy finds what is most frequent in a stream, in bounded memory: the
// Space-Saving algorithm (Metwally, Agrawal, El Abbadi 2005).
//
// A Counter is for one goroutine at a time.
package heavy

import (
	"cmp"
	"slices"
)

// Counter counts keys in a table of fixed size. A key that is not in a full
// table takes the place of the one with the lowest count, and that count with
// it: so counts are never too low, and whatever is more frequent than one in
// size of all is in the table.
type Counter[K comparable] struct {
	size  int
	heap  []Count[K] // the lowest first
	place map[K]int  // in heap
}

// Count is how often a key came: at most N times, and at least N-Over.
type Count[K comparable] struct {
	Key     K
	N, Over uint64
}

// New returns a Counter of so many keys.
func New[K comparable](size int) *Counter[K] {
	return &Counter[K]{size: size, place: map[K]int{}}
}

// Add counts a key once.
func (c *Counter[K]) Add(key K) {
	if i, ok := c.place[key]; ok {
		c.heap[i].N++
		c.down(i)
		return
	}
	if len(c.heap) < c.size {
		c.heap = append(c.heap, Count[K]{Key: key, N: 1})
		c.place[key] = len(c.heap) - 1
		c.up(len(c.heap) - 1)
		return
	}
	least := &c.heap[0]
	delete(c.place, least.Key)
	least.Key, least.Over = key, least.N
	least.N++
	c.place[key] = 0
	c.down(0)
}

// Top returns the n most frequent keys, the most frequent first.
func (c *Counter[K]) Top(n int) []Count[K] {
	all := slices.Clone(c.heap)
	slices.SortFunc(all, func(a, b Count[K]) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Over, b.Over)) })
	return all[:min(n, len(all))]
}

func (c *Counter[K]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if c.heap[parent].N <= c.heap[i].N {
			return
		}
		c.swap(i, parent)
		i = parent
	}
}

func (c *Counter[K]) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(c.heap); child++ {
			if c.heap[child].N < c.heap[least].N {
				least = child
			}
		}
		if least == i {
			return
		}
		c.swap(i, least)
		i = least
	}
}

func (c *Counter[K]) swap(i, j int) {
	c.heap[i], c.heap[j] = c.heap[j], c.heap[i]
	c.place[c.heap[i].Key], c.place[c.heap[j].Key] = i, j
}
