// SPDX-License-Identifier: Apache-2.0

package board

import (
	"cmp"
	"slices"

	"github.com/renat-project/renat/internal/nodestatus"
)

// risksShown is how many connections at risk a Fleet lists at most.
const risksShown = 20

// NodeRisk is a connection that breaks by its next packet, and its node.
type NodeRisk struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster,omitempty"`
	nodestatus.Risk
}

// addRisks counts what a node tells to be at risk, and lists those for longest.
func (f *Fleet) addRisks(s *nodestatus.Status) {
	if s.AtRisk != nil {
		f.AtRisk += *s.AtRisk
	}
	for _, r := range s.Risks {
		one := NodeRisk{Node: s.Node, Cluster: s.Cluster, Risk: r}
		at, _ := slices.BinarySearchFunc(f.Risks, one, func(a, b NodeRisk) int {
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Source.Address, b.Source.Address))
		})
		if at < risksShown {
			f.Risks = slices.Insert(f.Risks, at, one)
			f.Risks = f.Risks[:min(len(f.Risks), risksShown)]
		}
	}
}
