// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator/incident"
)

// plan is how a run breaks connections.
type plan struct {
	mix []Class // of the long-lived connections, over and over
	// What Config has where it is not set; 0: as for other plans.
	mapSize, connections int
	ctSize               int  // entries of the connection tracking map; 0: enough
	policed              bool // pods may be sent to by who is tracked only
	// together has its own done to the connections of some classes, so many of each:
	// to all at a time, over and over until ctx ends. The others are kept one by one.
	together func(t *traffic, ctx context.Context, n map[Class]int, lot *rand.Rand)
	joined   []Class // those classes
}

// What Config.Kind may be besides kinds.
const (
	Timeouts  incident.Kind = "timeout" // renats with this outcome
	HostOwned incident.Kind = "host"    // renats of the node's own connections
)

// plans are by the kind of incident that they are for. The one without makes
// those that the NAT map's evictions and deletes make.
var plans = map[incident.Kind]plan{
	"": {mix: []Class{
		Idle, Push, Hot, GC, GCPush, Reuse, ReuseNewPort, Idle, Push, GC,
		Hot, Push, Idle, GCPush, Reuse, ReuseNewPort, Idle, Push, GC, Idle,
	}},
	incident.EgressChanged: {
		mix:      []Class{Egress, EgressReuse, Egress, Hot, Egress, Push, Idle, Egress, EgressReuse, Egress},
		together: (*traffic).move, joined: []Class{Egress, EgressReuse},
	},
	incident.NoPort: {
		mix:     []Class{Crowd, Crowd, Crowd, Crowd, Hot, Crowd, Crowd, Crowd, Crowd, Idle},
		mapSize: 4096, connections: 10 * (datapath.ScarcePorts + 16) / 8, // nobody's port is evicted
	},
	incident.TrackingLost: {
		mix:     []Class{Untracked, Waiting, Healed, Waiting, Hot, Untracked, Idle, Waiting, Healed, Untracked},
		mapSize: 4096, ctSize: 256, policed: true,
	},
	incident.MapReplacement: {
		mix:      []Class{Replaced, Kept, Replaced},
		mapSize:  4096,
		together: (*traffic).replace, joined: []Class{Replaced, Kept},
	},
	HostOwned: {mix: []Class{Own, Hot, Idle, Own, Push, Own, Hot, Idle, Own, Push}},
	Timeouts: {
		mix:     []Class{Unanswered, Unreset, Hot, Unanswered, Unreset, Unanswered, Idle, Unanswered, Unreset, Unanswered},
		mapSize: 4096,
	},
}

// planFor returns the plan for a kind.
func planFor(kind incident.Kind) (plan, error) {
	p, ok := plans[kind]
	if !ok {
		return plan{}, fmt.Errorf("kind %q is not one of %s", kind, strings.Join(Kinds(), ", "))
	}
	return p, nil
}

// Kinds are those that Config.Kind may be.
func Kinds() (kinds []string) {
	for _, k := range slices.Sorted(maps.Keys(plans)) {
		if k != "" {
			kinds = append(kinds, string(k))
		}
	}
	return kinds
}

// classes are those that the plan has.
func (p plan) classes() (some []Class) {
	for _, c := range classes {
		if c == Churn || slices.Contains(p.mix, c) {
			some = append(some, c)
		}
	}
	return some
}

// least is how many connections have one of each class.
func (p plan) least() int {
	n := 0
	for _, c := range p.classes() {
		n = max(n, slices.Index(p.mix, c)+1)
	}
	return n
}
