// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// TestAgeOfTheEntry wants the evidence to say how long an entry had lasted.
func TestAgeOfTheEntry(t *testing.T) {
	for made, want := range map[string]string{
		"made @959s":    "IN entry evicted, mapped 41s before: replies to 192.168.50.1:40000 reached the pod",
		"made @-90000s": "IN entry evicted, mapped more than 18 h before: replies to 192.168.50.1:40000 reached the pod",
		"":              "IN entry evicted: replies to 192.168.50.1:40000 reached the pod",
	} {
		var got []incident.Evidence
		c := newCorrelator(t, correlator.Config{}, func(i *incident.Incident) { got = i.Evidence })
		events := mustParse(t, "@1000s evict IN TCP server:443 -> node:40000 is pod:40000 "+made, "@1010s insert IN TCP server:443 -> node:40000 is node:40000")
		for i := range events {
			c.Observe(&events[i])
		}
		c.Advance(start + int64(time.Hour))
		if len(got) != 2 || got[0].What != want {
			t.Errorf("%q gave %+v, want %s", made, got, want)
		}
	}
}
