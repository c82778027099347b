// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"github.com/renat-project/renat/correlator/incident/verdict"
	"github.com/renat-project/renat/sinks/notification"
)

// Stream is where the incidents are stored.
const Stream = "RENAT_INCIDENTS"

// facts are what n says of its incidents, and what the listed ones know of the map.
func facts(n *notification.Notification) verdict.Facts {
	f := verdict.Facts{
		Kinds: n.Kinds, Causes: n.Causes, Outcomes: n.Outcomes,
		Source: n.Group.Labels["workload"], Destination: n.Group.Labels["destination"], Node: n.Group.Labels["node"],
	}
	for _, item := range n.Incidents {
		i := *item.Incident
		i.ID = item.ID
		f.Learn(&i)
	}
	return f
}
