// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	syntax "github.com/prometheus/prometheus/promql/parser"

	"github.com/renat-project/renat/internal/metrics"
)

// TestMistakesInRulesAreFound makes each of many mistakes in each alert.
func TestMistakesInRulesAreFound(t *testing.T) {
	t.Parallel()
	made := 0
	for _, r := range alerts(t) {
		for mistake, wrong := range mistakes(t, r.Expr) {
			made++
			changed := r
			changed.Expr = wrong
			if err := checkAlert(changed); err == nil {
				t.Errorf("%s: %s was not found: %s", r.Alert, mistake, wrong)
			}
		}
		for _, change := range []func(*rulefmt.Rule){
			func(r *rulefmt.Rule) { r.Labels = nil },
			func(r *rulefmt.Rule) { r.Annotations["summary"] = "" },
			func(r *rulefmt.Rule) { r.Annotations["description"] = "on {{ $labels.nod }}" },
			func(r *rulefmt.Rule) { r.Annotations["runbook_url"] = runbooksURL + "Other.md" },
		} {
			made++
			changed := r
			changed.Annotations = map[string]string{}
			for k, v := range r.Annotations {
				changed.Annotations[k] = v
			}
			change(&changed)
			if err := checkAlert(changed); err == nil {
				t.Errorf("%s: %v was taken for right", r.Alert, changed)
			}
		}
	}
	t.Logf("%d mistakes were found", made)
}

func TestMistakesInTheFileAreFound(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range [][2]string{
		{"expr: sum by", "exp: sum by"}, {"sum by", "sum bi"}, {"[15m]))", "[15m])"}, {"for: 10m", "for: ten minutes"},
		{"{{ $labels.node }}", "{{ $labels.node }"}, {"{{ humanizePercentage $value }}", "{{ percent $value }}"},
	} {
		if !strings.Contains(string(b), m[0]) {
			t.Errorf("there is no %q to change", m[0])
		}
		if _, err := parseRules([]byte(strings.Replace(string(b), m[0], m[1], 1))); err == nil {
			t.Errorf("%q instead of %q was taken for right", m[1], m[0])
		}
	}
}

// mistakes returns wrong variants of an expression, by what is wrong.
func mistakes(t *testing.T, expr string) map[string]string {
	t.Helper()
	all := map[string]string{}
	visit := func(what string, change func(node syntax.Node, turn func() bool)) {
		for n, wrong := range variants(t, expr, change) {
			all[fmt.Sprintf("%s %d", what, n)] = wrong
		}
	}
	visit("metric", func(node syntax.Node, turn func() bool) {
		if v, ok := node.(*syntax.VectorSelector); ok && turn() {
			v.LabelMatchers = slices.DeleteFunc(v.LabelMatchers, nameMatcher)
			v.Name += "s"
		}
	})
	visit("matcher's label", func(node syntax.Node, turn func() bool) {
		if v, ok := node.(*syntax.VectorSelector); ok {
			for _, m := range v.LabelMatchers {
				if !nameMatcher(m) && turn() {
					m.Name += "s"
				}
			}
		}
	})
	visit("matcher's value", func(node syntax.Node, turn func() bool) {
		if v, ok := node.(*syntax.VectorSelector); ok {
			for _, m := range v.LabelMatchers {
				if closed(v.Name, m.Name) && turn() {
					*m = *wrongValue(t, m)
				}
			}
		}
	})
	visit("aggregation", func(node syntax.Node, turn func() bool) {
		if a, ok := node.(*syntax.AggregateExpr); ok {
			for n := range a.Grouping {
				if turn() {
					a.Grouping[n] += "s"
				}
			}
		}
	})
	visit("matching", func(node syntax.Node, turn func() bool) {
		if b, ok := node.(*syntax.BinaryExpr); ok && b.VectorMatching != nil {
			for n := range b.VectorMatching.MatchingLabels {
				if turn() {
					b.VectorMatching.MatchingLabels[n] += "s"
				}
			}
		}
	})
	return all
}

// variants returns the expression with each thing changed, in turn, that change
// can be applied to: it asks for every one whether it is its turn.
func variants(t *testing.T, expr string, change func(node syntax.Node, turn func() bool)) (all []string) {
	t.Helper()
	for {
		e, err := parser.ParseExpr(expr)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		syntax.Inspect(e, func(node syntax.Node, _ []syntax.Node) error {
			change(node, func() bool { seen++; return seen == len(all)+1 })
			return nil
		})
		if seen <= len(all) {
			return all
		}
		all = append(all, e.String())
	}
}

func nameMatcher(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel }

// closed reports whether the values of a metric's label are all known.
func closed(metric, label string) bool {
	m, err := lookup(metric)
	known := append(slices.Clone(m.Labels), metrics.Target...)
	n := slices.IndexFunc(known, func(l metrics.Label) bool { return l.Name == label })
	return err == nil && n >= 0 && known[n].Values != nil
}

// wrongValue returns a matcher for a value with a typing error.
func wrongValue(t *testing.T, m *labels.Matcher) *labels.Matcher {
	t.Helper()
	wrong, err := labels.NewMatcher(m.Type, m.Name, "x"+m.Value)
	if err != nil {
		t.Fatal(err)
	}
	return wrong
}
