// SPDX-License-Identifier: Apache-2.0

package board

import (
	"cmp"
	"slices"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
)

// Fleet is what all nodes are together.
type Fleet struct {
	// Total is how many there are, in so many clusters.
	Total    int `json:"total"`
	Clusters int `json:"clusters"`
	// States counts them by state; states that none has are missing.
	States map[nodestatus.State]int `json:"states"`
	// Evictions per second of all their NAT maps, as of Node.
	Evictions []*Rate `json:"evictions_per_second"`
	// AtRisk is how many connections break by their next packet, as nodes tell
	// that are neither silent nor blind.
	AtRisk int `json:"at_risk"`
	// Risks are the first of them, those for longest, at most 20.
	Risks []NodeRisk `json:"risks"`
}

// Worst returns the nodes that are worst, at most limit, and what all are
// together: the worse its state, then the more it evicts, the earlier is a node.
func (b *Board) Worst(now time.Time, limit int) ([]Node, Fleet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	f := Fleet{Total: len(b.nodes), States: map[nodestatus.State]int{}, Evictions: make([]*Rate, History), Risks: []NodeRisk{}}
	clusters := map[string]struct{}{}
	all := make([]ranked, 0, len(b.nodes))
	last := now.Unix() / 60
	for key, n := range b.nodes {
		clusters[key.cluster] = struct{}{}
		state := n.state(now)
		f.States[state]++
		if state != nodestatus.Silent && state != nodestatus.Blind {
			f.addRisks(&n.status)
		}
		all = append(all, ranked{n, state.Severity(), n.evicts()})
		for k := range f.Evictions {
			if rate, ok := n.rate(last - History + 1 + int64(k)); ok {
				if f.Evictions[k] == nil {
					f.Evictions[k] = new(Rate)
				}
				*f.Evictions[k] += Rate(rate)
			}
		}
	}
	f.Clusters = len(clusters)
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.severity, a.severity), cmp.Compare(b.evicts, a.evicts),
			cmp.Compare(a.status.Node, b.status.Node), cmp.Compare(a.status.Cluster, b.status.Cluster))
	})
	worst := make([]Node, 0, min(limit, len(all)))
	for _, n := range all[:cap(worst)] {
		worst = append(worst, n.shown(now))
	}
	return worst, f
}

// ranked is a node with what it is ordered by.
type ranked struct {
	*node
	severity int
	evicts   float64
}

// evicts is how many entries its NAT maps lose a second.
func (n *node) evicts() (rate float64) {
	for i := range n.status.Maps {
		if m := &n.status.Maps[i]; !m.CT {
			rate += m.LastMinute.Evictions
		}
	}
	return rate
}

// untold are those of the nodes of which no status is known.
func (b *Board) untold(counts []Count) []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	told := make(map[string]bool, len(counts))
	for _, c := range counts {
		told[c.Name] = false
	}
	for key := range b.nodes {
		if _, asked := told[key.name]; asked {
			told[key.name] = true
		}
	}
	var names []string
	for _, c := range counts {
		if !told[c.Name] {
			names = append(names, c.Name)
		}
	}
	return names
}
