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
	rate := 0.0
	for _, m := range s.Maps {
		if !m.CT {
			rate += m.LastMinute.Evictions
		}
	}
	minute := arrived.Unix() / 60
	if at := &n.minutes[(minute%History+History)%History]; at.minute != minute || rate > at.rate {
		at.minute, at.rate = minute, rate
	}
	shown := n.shown(arrived)
	b.hearing.tell(Event{Node: &shown})
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
	slices.SortFunc(all, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.Status.Cluster, b.Status.Cluster), cmp.Compare(a.Status.Node, b.Status.Node))
	})
	return all
}

// Plan advises on the NAT maps of the nodes, as renat advise does where Cilium's
// settings are not known. What was measured on a silent or blind node does not
// count: it may need more by now.
func (b *Board) Plan(now time.Time) sizing.Plan {
	var measured []sizing.Node
	var others []string
	for _, n := range b.Nodes(now) {
		var of []sizing.Node
		if n.State != nodestatus.Silent && n.State != nodestatus.Blind {
			of = n.Status.Measured(nil)
		}
		if len(of) == 0 {
			others = append(others, n.Status.Node)
		}
		measured = append(measured, of...)
	}
	p := sizing.NewPlan(measured, nil)
	p.Unmeasured = others
	return p
}

// forget removes who has been silent for too long.
func (b *Board) forget(now time.Time) {
	maps.DeleteFunc(b.nodes, func(_ nodeKey, n *node) bool { return now.Sub(n.heard) > forgotten })
}

func (n *node) shown(now time.Time) Node {
	s := Node{State: n.status.State(), Ready: n.status.Ready(), Heard: n.heard, Status: n.status, Evictions: make([]*Rate, History)}
	if now.Sub(n.heard) > SilentAfter {
		s.State = nodestatus.Silent
	}
	last := now.Unix() / 60
	for k := range s.Evictions {
		minute := last - History + 1 + int64(k)
		if at := n.minutes[(minute%History+History)%History]; at.minute == minute {
			rate := Rate(at.rate) // the node's may change
			s.Evictions[k] = &rate
		}
	}
	return s
}
