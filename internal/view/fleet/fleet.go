// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
)

// Source is where answers come from. A method fails if nothing can be asked at
// all; that some nodes did not answer is part of its result.
type Source interface {
	// Nodes returns the statuses by cluster and node.
	Nodes(ctx context.Context) (Nodes, error)
	// Incidents returns the newest that the filter q chooses (package
	// filter), the newest first, at most limit of them (0: all there are).
	// Those of agents have no evidence.
	Incidents(ctx context.Context, q url.Values, limit int) (Incidents, error)
	// Incident returns one whole; ErrUnknown if nobody has it.
	Incident(ctx context.Context, id string) (*incident.Incident, error)
	// Tops returns who fills the maps of each node that choose chooses; nil: all.
	Tops(ctx context.Context, choose func(node string) bool) (Tops, error)
	// AtRisk returns which connections of each node break by their next packet.
	AtRisk(ctx context.Context) (AtRisk, error)
}

// Nodes are the nodes that answered, and those that did not.
type Nodes struct {
	Statuses []*nodestatus.Status
	Silent   []Silence
	// Unlisted is why nodes without an agent are not among them; nil: they are,
	// or nobody tells of any.
	Unlisted error
}

// Answered is how many agents did.
func (n *Nodes) Answered() (count int) {
	for _, s := range n.Statuses {
		if s.Watched() {
			count++
		}
	}
	return count
}

// Incidents are those of the nodes that answered.
type Incidents struct {
	Incidents []*incident.Incident
	// More is how many older ones were left out.
	More int
	// Answered is how many agents did; of NATS 1.
	Answered int
	Silent   []Silence
}

// Tops are those of the nodes that answered.
type Tops struct {
	Tops   []*nodestatus.Top
	Silent []Silence
}

// AtRisk are those of the nodes that answered.
type AtRisk struct {
	Nodes  []*nodestatus.AtRisk
	Silent []Silence
}

// Silence is a node that gave no answer.
type Silence struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

// newest sorts incidents, the newest first, and keeps limit of them.
func (i *Incidents) newest(limit int) {
	slices.SortStableFunc(i.Incidents, func(a, b *incident.Incident) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID))
	})
	i.Incidents = slices.CompactFunc(i.Incidents, func(a, b *incident.Incident) bool { return a.ID == b.ID })
	if n := len(i.Incidents); limit > 0 && n > limit {
		i.Incidents = i.Incidents[:limit]
		i.More += n - limit
	}
}

func byNode(a, b *nodestatus.Status) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node))
}
