// SPDX-License-Identifier: Apache-2.0

package board

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/sizing"
)

const (
	// SilentAfter is how long ago the newest status of a node may have come,
	// else it is nodestatus.Silent; agents tell every ten seconds.
	SilentAfter = 45 * time.Second
	// forgotten is when a silent node is left out: it is no node any more.
	forgotten = time.Hour
	// History is how many minutes of evictions the board remembers.
	History = 60
)

// Node is a node as its agent told last.
type Node struct {
	// State is how bad it is.
	State nodestatus.State `json:"state" jsonschema:"enum=ok,enum=evicting,enum=breaking,enum=degraded,enum=silent,enum=blind"`
	// Ready says that every part of its agent works.
	Ready bool `json:"ready"`
	// Heard is when its last status came, by the clock of whoever shows it: the
	// node's own may be wrong.
	Heard time.Time `json:"heard"`
	// Evictions per second of its NAT maps, a value for each of the last 60
	// minutes, the oldest first; null where no status is known.
	Evictions []*Rate           `json:"evictions_per_second"`
	Status    nodestatus.Status `json:"status"`
}

// Rate is a number of events per second.
type Rate float64

// nodeKey is a node's name.
type nodeKey struct{ cluster, name string }

// node is what is known of a node.
type node struct {
	status nodestatus.Status
	heard  time.Time
	// minutes has for each of the last minutes, at the minute modulo History,
	// the highest rate told.
	minutes [History]struct {
		minute int64
		rate   float64
	}
}

// SetStatus takes the status of a node, in the order and at the time in which
// they arrive, and tells who listens: a node's own clock may be set back. The
// same status again is ignored.
func (b *Board) SetStatus(s nodestatus.Status, arrived time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := nodeKey{s.Cluster, s.Node}
	n := b.nodes[key]
	if n == nil {
		b.forget(arrived) // nobody may ever ask for the nodes
		n = &node{}
		b.nodes[key] = n
	} else if s.Time.Equal(n.status.Time) && s.Started.Equal(n.status.Started) {
		return
	}
	n.status, n.heard = s, arrived
	rate, minute := n.evicts(), arrived.Unix()/60
	if at := &n.minutes[(minute%History+History)%History]; at.minute != minute || rate > at.rate {
		at.minute, at.rate = minute, rate
	}
	if len(b.hearing.listeners) > 0 {
		shown := n.shown(arrived)
		b.hearing.tell(Event{Node: &shown})
	}
}

// Nodes returns all nodes, by cluster and name. One that has been silent for an
// hour is forgotten.
func (b *Board) Nodes(now time.Time) []Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	all := make([]Node, 0, len(b.nodes))
	for _, n := range b.nodes {
		all = append(all, n.shown(now))
	}
	slices.SortFunc(all, func(a, b Node) int { return byName(&a.Status, &b.Status) })
	return all
}

// Plan advises on the NAT maps of the nodes, as renat advise does where Cilium's
// settings are not known. What was measured on a silent or blind node does not
// count: it may need more by now.
func (b *Board) Plan(now time.Time) sizing.Plan {
	var measured []sizing.Node
	var others []string
	for _, s := range b.statuses(now) {
		var of []sizing.Node
		if s.state != nodestatus.Silent && s.state != nodestatus.Blind {
			of = s.status.Measured(nil)
		}
		if len(of) == 0 {
			others = append(others, s.status.Node)
		}
		measured = append(measured, of...)
	}
	p := sizing.NewPlan(measured, nil)
	p.Unmeasured = others
	return p
}

// stated is a status and what it amounts to.
type stated struct {
	status nodestatus.Status
	state  nodestatus.State
}

// statuses are those of all nodes, by cluster and name.
func (b *Board) statuses(now time.Time) []stated {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	all := make([]stated, 0, len(b.nodes))
	for _, n := range b.nodes {
		all = append(all, stated{n.status, n.state(now)})
	}
	slices.SortFunc(all, func(a, b stated) int { return byName(&a.status, &b.status) })
	return all
}

func byName(a, b *nodestatus.Status) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node))
}

// forget removes who has been silent for too long.
func (b *Board) forget(now time.Time) {
	maps.DeleteFunc(b.nodes, func(_ nodeKey, n *node) bool { return now.Sub(n.heard) > forgotten })
}

// state is how bad it is now.
func (n *node) state(now time.Time) nodestatus.State {
	if now.Sub(n.heard) > SilentAfter {
		return nodestatus.Silent
	}
	return n.status.State()
}

// rate is the highest that was told in a minute; false: none was.
func (n *node) rate(minute int64) (float64, bool) {
	at := n.minutes[(minute%History+History)%History]
	return at.rate, at.minute == minute
}

func (n *node) shown(now time.Time) Node {
	s := Node{State: n.state(now), Ready: n.status.Ready(), Heard: n.heard, Status: n.status, Evictions: make([]*Rate, History)}
	last := now.Unix() / 60
	rates := make([]Rate, History) // copies: the node's may change
	for k := range s.Evictions {
		if rate, ok := n.rate(last - History + 1 + int64(k)); ok {
			rates[k] = Rate(rate)
			s.Evictions[k] = &rates[k]
		}
	}
	return s
}
