// SPDX-License-Identifier: Apache-2.0

// Command docgen writes the reference of metrics, for people, to the file named
// by its argument.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/renat-project/renat/internal/metrics"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: docgen FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(document()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

const head = `<!-- Generated from internal/metrics by go generate. Do not edit. -->
# Metrics

` + "`renat agent` and `renat hub` serve `/metrics` on `--listen`" + `, in Prometheus' format, to everyone who can reach it: it names maps and receivers, and no
connection, pod or address. Both also export the metrics of the Go runtime and of their process (` + "`go_…`, `process_…`" + `).

Counters count since the process began. A series of a counter is there from 0 on, so that ` + "`rate` and `increase`" + ` see its first event; those of a
map begin with the map, those of a receiver when the hub becomes active.
`

func document() string {
	var b strings.Builder
	b.WriteString(head)
	section(&b, "The agent", metrics.Agent)
	section(&b, "The hub", metrics.Hub)
	b.WriteString("\n## Labels\n")
	for _, l := range labels(metrics.All()) {
		fmt.Fprintf(&b, "\n`%s`: %s", l.Name, l.Meaning)
		if l.Values == nil {
			b.WriteString(".\n")
			continue
		}
		b.WriteString("\n\n| value | meaning |\n|---|---|\n")
		for _, v := range l.Values {
			fmt.Fprintf(&b, "| `%s` | %s |\n", v.Name, v.Meaning)
		}
	}
	b.WriteString("\n## Labels from scraping\n\nAlert rules and dashboards need these. The chart's monitors add them, but for `cluster`.\n\n| label | meaning |\n|---|---|\n")
	for _, l := range metrics.Target {
		fmt.Fprintf(&b, "| `%s` | %s |\n", l.Name, l.Meaning)
	}
	return b.String()
}

func section(b *strings.Builder, title string, set metrics.Set) {
	fmt.Fprintf(b, "\n## %s\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n", title)
	for _, m := range set {
		names := ""
		if len(m.Labels) > 0 {
			names = "`" + strings.Join(m.LabelNames(), "`, `") + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Type, m.Unit, names, m.Help)
	}
}

// labels returns each label once, in order of appearance.
func labels(set metrics.Set) (all []metrics.Label) {
	type key struct{ name, meaning string } // two labels are called result
	seen := map[key]bool{}
	for _, m := range set {
		for _, l := range m.Labels {
			if k := (key{l.Name, l.Meaning}); !seen[k] {
				seen[k] = true
				all = append(all, l)
			}
		}
	}
	return all
}
