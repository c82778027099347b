// SPDX-License-Identifier: Apache-2.0

package lru

// kind is the list that a node is on.
type kind uint8

const (
	active kind = iota
	inactive
	free
	localFree // of one CPU
	pending   // of one CPU: inserted lately
)

// node is one element of the map.
type node struct {
	prev, next int32
	key        uint32
	cpu        uint16 // that inserted it; the owner when distributed
	on         kind
	ref        bool // looked up since it was last moved
}

// lists are doubly linked lists through one slice: first the nodes, then a
// head for each list. The front is the young end.
type lists struct {
	nodes []node
}

func (l *lists) init(nodes, heads int) {
	l.nodes = make([]node, nodes, nodes+heads)
}

// newHead returns an empty list; there must be room left for it.
func (l *lists) newHead() int32 {
	h := int32(len(l.nodes))
	l.nodes = append(l.nodes, node{prev: h, next: h})
	return h
}

func (l *lists) front(head int32) int32 { return l.nodes[head].next }
func (l *lists) back(head int32) int32  { return l.nodes[head].prev }
func (l *lists) empty(head int32) bool  { return l.nodes[head].next == head }

func (l *lists) pushFront(head, i int32) {
	next := l.nodes[head].next
	l.nodes[i].prev, l.nodes[i].next = head, next
	l.nodes[head].next, l.nodes[next].prev = i, i
}

func (l *lists) remove(i int32) {
	n := &l.nodes[i]
	l.nodes[n.prev].next, l.nodes[n.next].prev = n.next, n.prev
}

// move takes i from its list to the front of another.
func (l *lists) move(head, i int32) {
	l.remove(i)
	l.pushFront(head, i)
}
