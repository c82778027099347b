// SPDX-License-Identifier: Apache-2.0

package lru

// shard is one set of LRU lists: the whole map's, or one CPU's when the map is
// distributed (kernel: struct bpf_lru_list).
type shard struct {
	heads [3]int32 // by kind: active, inactive, free
	count [3]int   // of free nothing is counted
	// hand is where ageing the inactive list goes on: a node of it, or its head.
	hand int32
}

func (m *Map) newShard() shard {
	s := shard{}
	for k := range s.heads {
		s.heads[k] = m.newHead()
	}
	s.hand = s.heads[inactive]
	return s
}

// place puts a node, which may be on a list of the shard, at the front of one,
// its reference bit cleared.
func (m *Map) place(s *shard, i int32, to kind) {
	n := &m.nodes[i]
	if s.hand == i {
		s.hand = n.prev
	}
	if n.on <= inactive {
		s.count[n.on]--
	}
	n.on, n.ref = to, false
	if to <= inactive {
		s.count[to]++
	}
	m.move(s.heads[to], i)
}

// age moves what was looked up to the active list, and what was not off it.
func (m *Map) age(s *shard) {
	if s.count[inactive] < s.count[active] {
		m.ageActive(s)
	}
	m.ageInactive(s)
}

// ageActive looks at the oldest active nodes.
func (m *Map) ageActive(s *shard) {
	head := s.heads[active]
	first := m.front(head)
	for i, scanned := m.back(head), 0; i != head; {
		prev := m.nodes[i].prev
		to := inactive
		if m.nodes[i].ref {
			to = active
		}
		m.place(s, i, to)
		if scanned++; scanned == m.scans || i == first {
			return
		}
		i = prev
	}
}

// ageInactive looks at inactive nodes, from where it ended the last time, and
// moves those in use. It goes round the list once at most.
func (m *Map) ageInactive(s *shard) {
	head := s.heads[inactive]
	if m.empty(head) {
		return
	}
	last := m.nodes[s.hand].next
	if last == head {
		last = m.nodes[last].next
	}
	next := head
	for i, scanned := s.hand, 0; scanned < m.scans; {
		if i == head {
			i = m.nodes[i].prev
			continue
		}
		next = m.nodes[i].prev
		if m.nodes[i].ref {
			m.place(s, i, active)
		}
		if i == last {
			break
		}
		i = next
		scanned++
	}
	s.hand = next
}

// shrink evicts up to want entries, taking the oldest inactive ones that
// nobody looked up; if there is none within reach, the oldest one whatever its
// reference bit. It gives each node to take, off all lists.
func (m *Map) shrink(s *shard, want int, take func(i int32)) {
	got := 0
	head := s.heads[inactive]
	for i, scanned := m.back(head), 0; i != head; {
		prev := m.nodes[i].prev
		if m.nodes[i].ref {
			m.place(s, i, active)
		} else {
			m.release(s, i)
			take(i)
			if got++; got == want {
				return
			}
		}
		if scanned++; scanned == m.scans {
			break
		}
		i = prev
	}
	if got > 0 {
		return
	}
	if m.empty(head) {
		head = s.heads[active]
	}
	if i := m.back(head); i != head {
		m.release(s, i)
		take(i)
	}
}

// release evicts a node's entry and takes the node off its list. Unlike place
// it leaves the reference bit.
func (m *Map) release(s *shard, i int32) {
	m.unlink(i)
	n := &m.nodes[i]
	if s.hand == i {
		s.hand = n.prev
	}
	s.count[n.on]--
	m.remove(i)
}
