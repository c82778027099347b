// SPDX-License-Identifier: Apache-2.0

package notification

import (
	"net/netip"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/verdict"
)

// Sample returns a notification that tells of nothing that happened, labelled
// as a test, for receivers to show. Its addresses are those for documentation.
func Sample(receiver string, at time.Time) *Notification {
	at = at.UTC()
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset,
		Time: at, Node: "test-node", Cluster: "test-cluster", Protocol: "TCP",
		Source:      incident.Endpoint{IP: netip.MustParseAddr("198.51.100.7"), Port: 40000, Namespace: "test", Pod: "sample-0", Workload: "Deployment/sample"},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443, Names: []string{"api.example.com"}},
		NAT:         incident.NAT{Map: "cilium_snat_v4_external", Before: "203.0.113.5:40000", After: "203.0.113.5:51111", RenattedAt: at},
		Evidence:    []incident.Evidence{{Time: at, From: incident.Kernel, What: "this is a sample: no connection broke"}},
		Map:         incident.Map{MaxEntries: 131072, EvictionsPerSecond: 1000},
	}
	i.ID = i.NewID(uint64(at.UnixNano()))
	n := &Notification{
		ID: "test-" + i.ID, Reason: Test, Receiver: receiver, At: at,
		Group: Group{
			ID: "test", Names: []string{"cluster", "node", "workload", "destination"}, Total: 1, Began: at, First: at, Last: at, Incident: i.ID,
			Labels: map[string]string{"cluster": i.Cluster, "node": i.Node, "workload": "test/Deployment/sample", "destination": "api.example.com:443"},
		},
		Count: 1, Incidents: []Item{{ID: i.ID, Sequence: 1, Incident: i}},
		Fetch: Fetch{Stream: "RENAT_INCIDENTS", Subject: i.Subject(), First: 1, Last: 1},
		Kinds: map[incident.Kind]int{i.Kind: 1}, Causes: map[incident.Cause]int{i.Cause: 1}, Outcomes: map[incident.Outcome]int{i.Outcome: 1},
	}
	n.Verdict = verdict.OfIncident(i)
	n.Title = "TEST: a sample, no connection broke"
	n.Text = n.Verdict.What
	return n
}
