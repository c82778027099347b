// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// TestLongestGap counts the silence before what a larger map would have kept: not
// before an address changed, although the entry had been evicted.
func TestLongestGap(t *testing.T) {
	const m = "cilium_snat_v4_external"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tally := newTally()
	for kind, silent := range map[incident.Kind]time.Duration{
		incident.Renat: 20 * time.Second, incident.OrphanedReply: 30 * time.Second,
		incident.EgressChanged: 40 * time.Second, incident.TrackingLost: 50 * time.Second,
	} {
		tally.add(&incident.Incident{
			Kind: kind, Cause: incident.LRUEviction, Time: at.Add(silent), NAT: incident.NAT{Map: m, RemovedAt: at},
		}, at)
	}
	if got := tally.longestGap(m); got != 30*time.Second {
		t.Errorf("longest gap %v, want 30s", got)
	}
}
