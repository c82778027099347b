// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lab_test

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/lab"
)

// TestPrivilegedLab makes connections break in every way there is and wants
// each that its client saw broken to be named by exactly one incident with the
// right kind, cause and ports, and nothing else to be named.
func TestPrivilegedLab(t *testing.T) {
	for _, c := range []lab.Config{
		{Restore: "none"},
		{Restore: "both"},
		{Restore: "none", IPv6: true},
		{Restore: "both", IPv6: true},
	} {
		name := c.Restore + "_IPv4"
		if c.IPv6 {
			name = c.Restore + "_IPv6"
		}
		t.Run(name, func(t *testing.T) {
			c.Duration, c.Connections, c.Churn = 10*time.Second, 40, 100
			c.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
			l, err := lab.New(c)
			if err != nil {
				t.Fatal(err)
			}
			r, err := l.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Write(t.Output()); err != nil {
				t.Error(err)
			}
			if !r.Right() {
				t.Error("some connections were missed, or named wrongly")
			}
			for _, row := range r.Classes {
				breaks := row.Class == lab.Push || row.Class == lab.GC
				if breaks && row.Broken == 0 {
					t.Errorf("no %s connection broke", row.Class)
				}
			}
		})
	}
}
