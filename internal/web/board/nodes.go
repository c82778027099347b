// SPDX-License-Identifier: Apache-2.0

package board

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
)

const (
	// Silent is the state of a node whose status is older than SilentAfter.
	Silent nodestatus.State = "silent"
	// SilentAfter is how old the newest status of a node may be; agents tell
	// every ten seconds.
	SilentAfter = 45 * time.Second
	// forgotten is when a silent node is left out: it is no node any more.
	forgotten = time.Hour
	// History is how many minutes of evictions the board remembers.
	History = 60
)

// Node is a node as its agent told last.
type Node struct {
	// State is how bad it is: ok, evicting, breaking, or silent.
	State nodestatus.State `json:"state" jsonschema:"enum=ok,enum=evicting,enum=breaking,enum=silent"`
	// Ready says that every part of its agent works.
	Ready bool `json:"ready"`
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
	// minutes has for each of the last minutes, at the minute modulo History,
	// the highest rate told.
	minutes [History]struct {
		minute int64
		rate   float64
	}
}

// SetStatus takes the status of a node and tells who listens. An older one than
// the board has is ignored.
func (b *Board) SetStatus(s nodestatus.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := nodeKey{s.Cluster, s.Node}
	n := b.nodes[key]
	if n == nil {
		n = &node{}
		b.nodes[key] = n
	}
	if s.Time.Before(n.status.Time) {
		return
	}
	n.status = s
	rate := 0.0
	for _, m := range s.Maps {
		if !m.CT {
			rate += m.LastMinute.Evictions
		}
	}
	minute := s.Time.Unix() / 60
	if at := &n.minutes[(minute%History+History)%History]; at.minute != minute || rate > at.rate {
		at.minute, at.rate = minute, rate
	}
	shown := n.shown(time.Now())
	b.hearing.tell(Event{Node: &shown})
}

// Nodes returns all nodes, by cluster and name. One that has been silent for an
// hour is forgotten.
func (b *Board) Nodes(now time.Time) []Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.nodes, func(_ nodeKey, n *node) bool { return now.Sub(n.status.Time) > forgotten })
	all := make([]Node, 0, len(b.nodes))
	for _, n := range b.nodes {
		all = append(all, n.shown(now))
	}
	slices.SortFunc(all, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.Status.Cluster, b.Status.Cluster), cmp.Compare(a.Status.Node, b.Status.Node))
	})
	return all
}

func (n *node) shown(now time.Time) Node {
	s := Node{State: n.status.State(), Ready: n.status.Ready(), Status: n.status, Evictions: make([]*Rate, History)}
	if now.Sub(n.status.Time) > SilentAfter {
		s.State = Silent
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
