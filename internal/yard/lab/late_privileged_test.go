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
// ever.
func TestPrivilegedLate(t *testing.T) {
	for name, c := range map[string]lab.Config{
		"hubble": {HubbleLate: 2 * time.Second},
		"agent":  {AgentAfter: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c.Duration, c.Connections, c.Churn = 9*time.Second, 30, 60
			c.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
			r := run(t, c, nil)
			if !r.Right() {
				t.Errorf("%d connections were missed, and %d named wrongly", r.Total.Missed, r.Total.False)
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
