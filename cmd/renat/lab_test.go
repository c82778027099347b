// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/view/usage"
)

func TestLabUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"extra"}, "unknown command"},
		{[]string{"--restore", "some"}, "none, reply, both"},
		{[]string{"-o", "yaml"}, "table, json"},
		{[]string{"--map-size", "3"}, "between 512"},
		{[]string{"--connections", "1"}, "1 connections"},
		{[]string{"--churn", "0.5"}, "churn"},
		{[]string{"--duration", "1s"}, "shorter than 5s"},
		{[]string{"--hubble-late", "6s"}, "between 0s and 5s"},
		{[]string{"--agent-after", "2m"}, "within the 1m0s"},
	} {
		got := renat(t, append([]string{"lab"}, c.args...)...)
		if got.code != usage.Wrong || !strings.Contains(got.err, c.want) || got.out != "" {
			t.Errorf("%q: exit code %d, %q, want %q", c.args, got.code, got.err, c.want)
		}
	}
}
