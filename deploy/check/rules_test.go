// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	syntax "github.com/prometheus/prometheus/promql/parser"
)

const (
	rulesFile   = "../helm/renat/rules/renat.yaml"
	runbooksURL = "https://github.com/renat-project/renat/blob/main/docs/runbooks/"
	runbooks    = "../../docs/runbooks"
)

func TestRules(t *testing.T) {
	t.Parallel()
	for _, r := range alerts(t) {
		if err := checkAlert(r); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
}

func TestRunbooks(t *testing.T) {
	t.Parallel()
	pages := map[string]bool{}
	for _, r := range alerts(t) {
		pages[r.Alert+".md"] = true
		page, err := os.ReadFile(filepath.Join(runbooks, r.Alert+".md"))
		if err != nil {
			t.Error(err)
			continue
		}
		if err := checkRunbook(r.Alert, string(page)); err != nil {
			t.Errorf("%s.md: %v", r.Alert, err)
		}
	}
	files, err := os.ReadDir(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !pages[f.Name()] && f.Name() != "README.md" {
			t.Errorf("%s is about no alert", f.Name())
		}
	}
}

// alerts reads the rule file as Prometheus does.
func alerts(t testing.TB) []rulefmt.Rule {
	t.Helper()
	b, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseRules(b)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func parseRules(b []byte) (all []rulefmt.Rule, err error) {
	groups, errs := rulefmt.Parse(b, false, model.LegacyValidation, parser, slog.New(slog.DiscardHandler))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all, nil
}

var ofLabel = regexp.MustCompile(`\$labels\.(\w+)`)

// checkAlert finds what is missing, and what the expression or the annotations
// name and nobody exports.
func checkAlert(r rulefmt.Rule) error {
	names, err := checkQuery(r.Expr)
	if err != nil {
		return err
	}
	if s := r.Labels["severity"]; s != "warning" && s != "critical" {
		return fmt.Errorf("severity %q is none of ours", s)
	}
	for _, key := range []string{"summary", "description"} {
		if r.Annotations[key] == "" {
			return fmt.Errorf("the %s is missing", key)
		}
		for _, l := range ofLabel.FindAllStringSubmatch(r.Annotations[key], -1) {
			if !slices.Contains(names, l[1]) {
				return fmt.Errorf("the %s names the label %s, which the result does not have", key, l[1])
			}
		}
	}
	if got, want := r.Annotations["runbook_url"], runbooksURL+r.Alert+".md"; got != want {
		return fmt.Errorf("runbook_url is %q, not %q", got, want)
	}
	return nil
}

var (
	query   = regexp.MustCompile("(?s)```promql\n(.*?)```")
	section = regexp.MustCompile(`(?m)^## (.*)$`)
)

// checkRunbook looks for the sections that each page has, and checks its queries.
func checkRunbook(alert, page string) error {
	if !strings.HasPrefix(page, "# "+alert+"\n") {
		return errors.New("it is not titled with the alert's name")
	}
	var sections []string
	for _, s := range section.FindAllStringSubmatch(page, -1) {
		sections = append(sections, s[1])
	}
	if want := []string{"What it means", "Confirm", "What to do", "When to ignore"}; !slices.Equal(sections, want) {
		return fmt.Errorf("it has the sections %q, not %q", sections, want)
	}
	for _, q := range query.FindAllStringSubmatch(page, -1) {
		if _, err := checkQuery(q[1]); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(q[1]), err)
		}
	}
	return nil
}

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
	// visit parses anew and applies change to the n-th thing that it can be
	// applied to, if there are so many.
	visit := func(what string, change func(node syntax.Node, turn func() bool)) {
		for n, more := 0, true; more; n++ {
			e, err := parser.ParseExpr(expr)
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			syntax.Inspect(e, func(node syntax.Node, _ []syntax.Node) error {
				change(node, func() bool { seen++; return seen == n+1 })
				return nil
			})
			if more = seen > n; more {
				all[fmt.Sprintf("%s %d", what, n)] = e.String()
			}
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
