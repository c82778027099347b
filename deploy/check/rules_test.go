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
