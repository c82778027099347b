// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"testing"

	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/internal/agent/guard"
	"github.com/renat-project/renat/internal/metrics"
	"github.com/renat-project/renat/internal/metrics/metricstest"
)

// TestMetricsAreThoseOfTheReference compares what /metrics serves with it.
func TestMetricsAreThoseOfTheReference(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(c *agent.Config) { c.Guard = &guard.Config{} })
	n.awaitReady()
	if err := metricstest.Compare(n.get("/metrics"), metrics.Agent); err != nil {
		t.Error(err)
	}
	n.breakAll(t.Context(), 0, 1)
	n.awaitForwarded(1)
	if err := metricstest.Compare(n.get("/metrics"), metrics.Agent); err != nil {
		t.Error(err)
	}
}
