// SPDX-License-Identifier: Apache-2.0

package nodestatus_test

import (
	"testing"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
)

// An incident has one outcome, as nodes adds them up.
func TestIncidentsCountEachOutcomeOnce(t *testing.T) {
	var c nodestatus.Incidents
	for _, outcome := range []string{"reset", "dropped", "unconfirmed"} {
		c.Add("tracking_lost", outcome, time.Now())
	}
	if c.Total != 3 || c.Reset != 1 || c.Unconfirmed != 1 || c.Outcomes["dropped"] != 1 {
		t.Errorf("counted %+v", c)
	}
}
