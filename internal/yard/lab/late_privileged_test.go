// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lab_test

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/yard/lab"
)

// TestPrivilegedLate has Hubble be late, each CPU's flows by another time, and the
// agent begin in the middle: what breaks from then on must be named, as rightly as
// ever. Of what breaks while Hubble is late, two or one in twenty may be missed, since
// the order of packets of two CPUs is not known.
func TestPrivilegedLate(t *testing.T) {
	for name, c := range map[string]lab.Config{
		"hubble": {HubbleLate: 2 * time.Second},
		"agent":  {AgentAfter: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c.Duration, c.Connections, c.Churn = 9*time.Second, 30, 60
			c.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
			r := run(t, c, nil)
			tolerated := 0
			if c.HubbleLate > 0 {
				tolerated = max(2, r.Total.Broken/20)
			}
			if r.Total.False > 0 || r.Total.Missed > tolerated {
				t.Errorf("%d connections were missed, %d tolerated, and %d named wrongly", r.Total.Missed, tolerated, r.Total.False)
			}
			if r.Total.Named == 0 {
				t.Error("no connection broke")
			}
			if c.AgentAfter > 0 && r.BrokeBefore == 0 {
				t.Error("no connection broke before the agent began")
			}
		})
	}
}
