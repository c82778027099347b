// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lab_test

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/yard/lab"
)

// TestPrivilegedKind makes incidents of the other kinds, by each class of
// connections that they befall, and wants all that their clients saw to be named
// rightly, and nothing else.
func TestPrivilegedKind(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		t.Run(version(ipv6), func(t *testing.T) { eachKind(t, ipv6) })
	}
}

func eachKind(t *testing.T, ipv6 bool) {
	for kind, c := range map[incident.Kind]struct {
		config lab.Config
		breaks map[lab.Class]int // at least so many
		spares []lab.Class
	}{
		incident.EgressChanged: {
			config: lab.Config{Connections: 20, Churn: 30, Duration: 5 * time.Second},
			breaks: map[lab.Class]int{lab.Egress: 10}, spares: []lab.Class{lab.EgressReuse, lab.Hot},
		},
		incident.NoPort: {
			config: lab.Config{Churn: 20, Duration: 5 * time.Second},
			breaks: map[lab.Class]int{lab.Crowd: 10}, spares: []lab.Class{lab.Hot, lab.Idle},
		},
		incident.MapReplacement: {
			config: lab.Config{Connections: 15, Churn: 20, Duration: 7 * time.Second},
			breaks: map[lab.Class]int{lab.Replaced: 10}, spares: []lab.Class{lab.Kept},
		},
		incident.TrackingLost: {
			config: lab.Config{Connections: 20, Churn: 60, Duration: 6 * time.Second, Patience: 5 * time.Second},
			breaks: map[lab.Class]int{lab.Untracked: 3, lab.Waiting: 3}, spares: []lab.Class{lab.Healed, lab.Hot, lab.Idle},
		},
		lab.Timeouts: {
			config: lab.Config{Connections: 10, Churn: 20, Duration: 10 * time.Second, Patience: 5 * time.Second},
			breaks: map[lab.Class]int{lab.Unanswered: 5}, spares: []lab.Class{lab.Unreset, lab.Hot, lab.Idle},
		},
	} {
		t.Run(string(kind), func(t *testing.T) {
			c.config.Kind, c.config.IPv6 = kind, ipv6
			c.config.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
			r := run(t, c.config, nil)
			if !r.Right() {
				t.Error("some connections were missed, or named wrongly")
			}
			rows := byClass(r)
			for class, least := range c.breaks {
				if rows[class].Named < least {
					t.Errorf("of %d %s connections %d broke and were named, want %d or more", rows[class].Connections, class, rows[class].Named, least)
				}
			}
			for _, class := range c.spares {
				if rows[class].Connections == 0 || rows[class].Broken > 0 {
					t.Errorf("of %d %s connections %d broke", rows[class].Connections, class, rows[class].Broken)
				}
			}
		})
	}
}
