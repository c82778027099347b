// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
)

// An incident has one outcome, as nodes adds them up.
func TestDemoCountsEachOutcomeOnce(t *testing.T) {
	var c nodestatus.Incidents
	for _, outcome := range []incident.Outcome{incident.Reset, incident.Dropped, incident.Unconfirmed} {
		countIncident(&c, &incident.Incident{Kind: incident.TrackingLost, Outcome: outcome}, time.Now())
	}
	if c.Total != 3 || c.Reset != 1 || c.Unconfirmed != 1 || c.Outcomes[string(incident.Dropped)] != 1 {
		t.Errorf("counted %+v", c)
	}
}
