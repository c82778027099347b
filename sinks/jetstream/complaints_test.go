// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/renat-project/renat/sinks/jetstream"
)

func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c jetstream.Complaints
		for _, step := range []struct {
			wait time.Duration
			text string
			want bool
		}{
			{0, "a", true}, {0, "a", false}, {2 * time.Second, "a", false},
			{0, "b", true}, {0, "a", false}, // they may take turns
			{57 * time.Second, "a", false}, {time.Second, "a", true}, {0, "b", false}, {2 * time.Second, "b", true},
		} {
			time.Sleep(step.wait)
			if got := c.Due(step.text); got != step.want {
				t.Errorf("%s after %s: %v", step.text, step.wait, got)
			}
		}
	})
}
