// SPDX-License-Identifier: Apache-2.0

package metricstest_test

import (
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/metrics"
	"github.com/renat-project/renat/internal/metrics/metricstest"
)

const served = `# HELP renat_held_events Events that wait for earlier ones.
# TYPE renat_held_events gauge
renat_held_events 3
# HELP renat_part_ready 1 if a part of the agent is ready, 0 if it waits for something.
# TYPE renat_part_ready gauge
renat_part_ready{part="nats"} 1
# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 7
`

func TestCompare(t *testing.T) {
	t.Parallel()
	want := metrics.Set{metrics.Agent.Get("renat_held_events"), metrics.Agent.Get("renat_part_ready")}
	if err := metricstest.Compare(served, want); err != nil {
		t.Error(err)
	}
	for _, m := range [][2]string{
		{"renat_held_events", "renat_holding_events"}, {"renat_part_ready gauge", "renat_part_ready counter"},
		{"Events that wait", "Events which wait"}, {`part="nats"`, `part="mars"`}, {`part="nats"`, `place="nats"`},
		{`{part="nats"}`, ""}, {`part="nats"`, `part="nats",node="a"`}, {"go_goroutines", "renat_goroutines"}, {"} 1", "} one"},
	} {
		if err := metricstest.Compare(strings.ReplaceAll(served, m[0], m[1]), want); err == nil {
			t.Errorf("%q instead of %q was taken for right", m[1], m[0])
		}
	}
}
