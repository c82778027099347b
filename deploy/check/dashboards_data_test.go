// SPDX-License-Identifier: Apache-2.0

package check

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/metrics"
)

// TestQueriesHaveResults asks what the dashboards and the runbooks ask, of two
// nodes that export everything.
func TestQueriesHaveResults(t *testing.T) {
	t.Parallel()
	scraped := newStore(t, everything())
	want := func(where, expr string) {
		if n, err := ask(t, scraped, expr, 20); err != nil || n == 0 {
			t.Errorf("%s: %s has %d results, %v", where, expr, n, err)
		}
	}
	variables := map[string]string{"__rate_interval": "5m", "__range": "10m", "cluster": ".*", "node": ".*"}
	for file, b := range dashboards(t) {
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				want(file+", "+p.Title, expand(q.Expr, variables))
			}
		}
	}
	for _, r := range alerts(t) {
		page, err := os.ReadFile(filepath.Join(runbooks, r.Alert+".md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range query.FindAllStringSubmatch(string(page), -1) {
			want(r.Alert+".md", q[1])
		}
	}
	if _, err := ask(t, scraped, "renat_map_entries * on (node) renat_part_ready", 20); err == nil {
		t.Error("a query that matches many with many has a result")
	}
	if n, err := ask(t, scraped, "renat_part_ready > 1", 20); n != 0 || err != nil {
		t.Errorf("a query of what is not has %d results, %v", n, err)
	}
}

// everything is a series for each value of each label of each metric, on two
// nodes; counters rise, and gauges are 0.
func everything() string {
	var b strings.Builder
	for _, m := range append(metrics.All(), foreign...) {
		names, values := []string{m.Name}, "0x20"
		switch m.Type {
		case metrics.Counter:
			values = "0+60x20"
		case metrics.Histogram:
			names, values = []string{m.Name + "_bucket", m.Name + "_sum", m.Name + "_count"}, "0+60x20"
		}
		for _, name := range names {
			for _, node := range []string{"a", "b"} {
				series(&b, name, node, m, values)
			}
		}
	}
	return b.String()
}

func series(b *strings.Builder, name, node string, m metrics.Metric, values string) {
	closed := metrics.Metric{Labels: slices.Clone(m.Labels)}
	for n, l := range closed.Labels {
		switch {
		case l.Name == "map":
			closed.Labels[n].Values = []metrics.Value{{Name: "cilium_snat_v4_external"}, {Name: "cilium_ct4_global"}}
		case l.Values == nil:
			closed.Labels[n].Values = []metrics.Value{{Name: "some"}}
		}
	}
	if strings.HasSuffix(name, "_bucket") {
		closed.Labels = append(closed.Labels, metrics.Label{Name: "le", Values: []metrics.Value{{Name: "0.1"}, {Name: "+Inf"}}})
	}
	for _, combination := range closed.Series() {
		fmt.Fprintf(b, "%s{job=\"renat/renat-agent\",node=%q,pod=\"agent-%s\",namespace=\"renat\"", name, node, node)
		for n, value := range combination {
			fmt.Fprintf(b, ",%s=%q", closed.Labels[n].Name, value)
		}
		fmt.Fprintf(b, "} %s\n", values)
	}
}
