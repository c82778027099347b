// SPDX-License-Identifier: Apache-2.0

package lru

// local is what a CPU keeps to itself when the LRU is common (kernel: struct
// bpf_lru_locallist).
type local struct {
	free, pending int32
	steal         int // the CPU to rob next when nothing is left
}

// pop returns a node without an entry, on the list where new entries start.
func (m *Map) pop(cpu int) int32 {
	if m.locals == nil {
		return m.popDistributed(cpu)
	}
	own := &m.locals[cpu]
	i, ok := m.popLocal(own)
	if !ok {
		m.refill(own)
		i, ok = m.popLocal(own)
	}
	if !ok {
		i = m.rob(own)
	}
	n := &m.nodes[i]
	n.cpu, n.on, n.ref = uint16(cpu), pending, false
	m.pushFront(own.pending, i)
	return i
}

func (m *Map) popLocal(l *local) (int32, bool) {
	i := m.front(l.free)
	if i == l.free {
		return 0, false
	}
	m.remove(i)
	return i, true
}

// refill gives the CPU's pending nodes to the common lists, ages these, and
// takes a batch of free nodes, evicting what is missing.
func (m *Map) refill(l *local) {
	s := &m.shards[0]
	for i := m.back(l.pending); i != l.pending; {
		prev := m.nodes[i].prev
		to := inactive
		if m.nodes[i].ref {
			to = active
		}
		m.place(s, i, to)
		i = prev
	}
	m.age(s)
	got := 0
	take := func(i int32) {
		m.nodes[i].on = localFree
		m.pushFront(l.free, i)
		got++
	}
	for got < m.target && !m.empty(s.heads[free]) {
		i := m.front(s.heads[free])
		m.remove(i)
		take(i)
	}
	if got < m.target {
		m.shrink(s, m.target-got, take)
	}
}

// rob takes a free or else the oldest pending node from some CPU: what refill
// did not find on the common lists, one of them must have.
func (m *Map) rob(own *local) int32 {
	for {
		from := &m.locals[own.steal]
		own.steal = (own.steal + 1) % len(m.locals)
		i, ok := m.popLocal(from)
		if !ok {
			i, ok = m.popPending(from)
		}
		if ok {
			return i
		}
	}
}

// popPending evicts the oldest pending entry that nobody looked up, or else
// the oldest.
func (m *Map) popPending(l *local) (int32, bool) {
	victim := m.back(l.pending)
	for i := victim; i != l.pending; i = m.nodes[i].prev {
		if !m.nodes[i].ref {
			victim = i
			break
		}
	}
	if victim == l.pending {
		return 0, false
	}
	m.unlink(victim)
	m.remove(victim)
	return victim, true
}

// popDistributed takes a node from the CPU's own lists, which are never empty.
func (m *Map) popDistributed(cpu int) int32 {
	s := &m.shards[cpu]
	m.age(s)
	if m.empty(s.heads[free]) {
		m.shrink(s, m.target, func(i int32) {
			m.nodes[i].on = free
			m.pushFront(s.heads[free], i)
		})
	}
	i := m.front(s.heads[free])
	m.place(s, i, inactive)
	return i
}

// push frees the node of an entry that was deleted or overwritten.
func (m *Map) push(i int32) {
	n := &m.nodes[i]
	switch {
	case m.locals == nil:
		m.place(&m.shards[n.cpu], i, free)
	case n.on == pending:
		n.on, n.ref = localFree, false
		m.move(m.locals[n.cpu].free, i)
	default:
		m.place(&m.shards[0], i, free)
	}
}
