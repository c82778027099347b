// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestMetricsAreDocumented compares what /metrics has with docs/agent.md.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.awaitReady()
	n.breakAll(t.Context(), 0, 1) // metrics of incidents begin with the first
	n.awaitForwarded(1)
	raw, err := os.ReadFile("../../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	docs, served := string(raw), 0
	for _, help := range regexp.MustCompile(`# HELP (renat_\S+) (.*)`).FindAllStringSubmatch(n.get("/metrics"), -1) {
		served++
		if row := regexp.MustCompile("\\| `" + help[1] + "` \\|.*\\| " + regexp.QuoteMeta(help[2]) + " \\|"); !row.MatchString(docs) {
			t.Errorf("docs/agent.md lacks a line for %s: %s", help[1], help[2])
		}
	}
	if rows := strings.Count(docs, "| `renat_"); rows != served {
		t.Errorf("docs/agent.md has %d metrics, /metrics %d", rows, served)
	}
}
