// SPDX-License-Identifier: Apache-2.0

package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident/filter"
)

const dashboardsGlob = "../helm/renat/dashboards/*.json"

// dashboard is what is checked of one of Grafana's.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Tags          []string
	Links         []struct {
		Type        string
		Tags        []string
		IncludeVars bool
	}
	Templating struct{ List []choice }
	Panels     []grafanaPanel
}

type choice struct {
	Name, Type string
	Query      json.RawMessage
	Datasource datasource
}

type grafanaPanel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               datasource
	FieldConfig              struct {
		Defaults  struct{ Unit string }
		Overrides json.RawMessage
	}
	Targets []target
}

type target struct {
	RefID, Expr, LegendFormat string
	Datasource                datasource
}

type datasource struct{ UID string }

// chosenSource is the data source that is chosen on top of the dashboard.
var chosenSource = datasource{"${datasource}"}

func TestDashboards(t *testing.T) {
	t.Parallel()
	all := dashboards(t)
	for file, b := range all {
		if err := checkDashboard(b, uids(t, all)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func dashboards(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(dashboardsGlob)
	if err != nil || len(files) != 2 {
		t.Fatalf("%q, %v", files, err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		if all[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func uids(t testing.TB, all map[string][]byte) (found []string) {
	t.Helper()
	for _, b := range all {
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		found = append(found, d.UID)
	}
	return found
}

var (
	linked   = regexp.MustCompile(`"/d/([\w-]+)`)
	chosen   = regexp.MustCompile(`\$\{?(\w+)`)
	inLegend = regexp.MustCompile(`\{\{(.*?)\}\}`)
)

// checkDashboard finds mistakes in a dashboard; known are the uids of all.
func checkDashboard(b []byte, known []string) error {
	var d dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	var errs []error
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 || len(d.Panels) == 0 {
		errs = append(errs, errors.New("uid, title, schemaVersion or panels are missing"))
	}
	if len(d.Links) != 1 || !d.Links[0].IncludeVars || !slices.Contains(d.Tags, d.Links[0].Tags[0]) {
		errs = append(errs, errors.New("it has no link to the others of its tag"))
	}
	for _, l := range linked.FindAllStringSubmatch(string(b), -1) {
		if !slices.Contains(known, l[1]) {
			errs = append(errs, fmt.Errorf("there is no dashboard %q to link to", l[1]))
		}
	}
	variables := map[string]string{"__rate_interval": "5m", "__range": "1h", "__data": "", "__url_time_range": "", "__from": "", "__to": "", "__field": ""}
	for _, v := range d.Templating.List {
		variables[v.Name] = ".*"
		errs = append(errs, checkChoice(v))
	}
	for _, v := range chosen.FindAllStringSubmatch(string(b), -1) {
		if _, ok := variables[v[1]]; !ok && v[1] != "__all" {
			errs = append(errs, fmt.Errorf("there is no variable $%s", v[1]))
		}
	}
	errs = append(errs, checkLayout(d.Panels), checkIncidentLinks(b))
	for _, p := range d.Panels {
		if err := checkPanel(p, variables); err != nil && p.Type != "row" {
			errs = append(errs, fmt.Errorf("%q: %w", p.Title, err))
		}
	}
	return errors.Join(errs...)
}

// toIncidents are links to the page, and what stands in them for what was chosen
// and clicked.
var (
	toIncidents = regexp.MustCompile(`"url": "\$\{renat\}/incidents\?([^"]*)"`)
	samples     = strings.NewReplacer("${__from:date:iso}", "2026-11-22T22:00:00.000Z", "${__to:date:iso}", "2026-11-22T23:00:00.000Z", "${node}", "node-a",
		"${__data.fields.node}", "node-a", "${__field.labels.kind}", "renat", "${__field.labels.cause}", "lru_eviction", "${__field.labels.outcome}", "reset")
)

// checkIncidentLinks wants links that the page understands.
func checkIncidentLinks(b []byte) error {
	links := toIncidents.FindAllStringSubmatch(strings.ReplaceAll(string(b), `\u0026`, "&"), -1)
	if len(links) == 0 {
		return errors.New("nothing leads to the incidents")
	}
	for _, l := range links {
		q, err := url.ParseQuery(samples.Replace(l[1]))
		if err == nil {
			_, err = filter.Parse(q, time.Now())
		}
		if err != nil || strings.Contains(samples.Replace(l[1]), "$") {
			return fmt.Errorf("the page does not understand the link %s: %w", l[1], err)
		}
	}
	return nil
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// checkChoice checks where a variable takes its values from.
func checkChoice(v choice) error {
	if v.Type == "datasource" || v.Type == "textbox" {
		return nil
	}
	if v.Datasource != chosenSource {
		return fmt.Errorf("$%s is not of the data source that is chosen", v.Name)
	}
	var q struct{ Query string }
	if err := json.Unmarshal(v.Query, &q); err != nil {
		return err
	}
	m := labelValues.FindStringSubmatch(q.Query)
	if m == nil {
		return fmt.Errorf("the values of $%s are not those of a label: %s", v.Name, q.Query)
	}
	names, err := checkQuery(m[1])
	if err == nil {
		err = within([]string{m[2]}, names)
	}
	return err
}

func checkPanel(p grafanaPanel, variables map[string]string) error {
	if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource != chosenSource || len(p.Targets) == 0 {
		return errors.New("a description, a unit, the data source or queries are missing")
	}
	var errs []error
	for _, q := range p.Targets {
		if q.Datasource != chosenSource {
			errs = append(errs, fmt.Errorf("%s asks another data source", q.Expr))
		}
		names, err := checkQuery(expand(q.Expr, variables))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", q.Expr, err))
			continue
		}
		for _, l := range inLegend.FindAllStringSubmatch(q.LegendFormat, -1) {
			errs = append(errs, within([]string{strings.TrimSpace(l[1])}, names))
		}
	}
	return errors.Join(errs...)
}

// expand puts values in the place of variables.
func expand(query string, variables map[string]string) string {
	return chosen.ReplaceAllStringFunc(query, func(v string) string { return variables[strings.TrimLeft(v, "${")] })
}

// checkLayout finds panels with the same id or place.
func checkLayout(panels []grafanaPanel) error {
	var errs []error
	for n, p := range panels {
		a := p.GridPos
		if a.W < 1 || a.H < 1 || a.X < 0 || a.X+a.W > 24 {
			errs = append(errs, fmt.Errorf("%q lies outside", p.Title))
		}
		for _, q := range panels[:n] {
			b := q.GridPos
			if p.ID == q.ID {
				errs = append(errs, fmt.Errorf("%q and %q have the id %d", p.Title, q.Title, p.ID))
			}
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				errs = append(errs, fmt.Errorf("%q lies over %q", p.Title, q.Title))
			}
		}
	}
	return errors.Join(errs...)
}

// TestMistakesInDashboardsAreFound makes each of many mistakes in each query.
func TestMistakesInDashboardsAreFound(t *testing.T) {
	t.Parallel()
	all := dashboards(t)
	known, made := uids(t, all), 0
	for file, b := range all {
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				expr := expand(q.Expr, map[string]string{"__rate_interval": "5m", "__range": "1h", "cluster": "c", "node": "n", "nodes": "n"})
				for mistake, wrong := range mistakes(t, expr) {
					made++
					changed := p
					changed.Targets = []target{{Expr: wrong, Datasource: q.Datasource}}
					if err := checkPanel(changed, nil); err == nil {
						t.Errorf("%s, %q: %s was not found: %s", file, p.Title, mistake, wrong)
					}
				}
			}
		}
		for _, m := range [][2]string{
			{`node=~\"$node`, `node=~\"$nod`}, {`"legendFormat": "{{place}}"`, `"legendFormat": "{{plaice}}"`}, {`"uid": "${datasource}"`, `"uid": "P123"`},
			{`"id": 2,`, `"id": 3,`}, {`"unit": "percentunit"`, `"unit": ""`}, {`"description": "In the time that is shown."`, `"description": ""`},
			{`"includeVars": true`, `"includeVars": false`}, {`label_values(renat_part_ready, cluster)`, `label_values(renat_part_ready, clustre)`},
			{`label_values(renat_part_ready{`, `label_values(renat_ready{`}, {`[$__rate_interval]`, `[$__rate_interva]`}, {`sum by (place) (`, `sum by (place) ((`},
			{`"/d/renat-node?`, `"/d/renat-nodes?`}, {`"w": 24`, `"w": 25`},
		} {
			if strings.Contains(m[0], "/d/") && file != "fleet.json" {
				continue
			}
			made++
			if !strings.Contains(string(b), m[0]) {
				t.Errorf("%s: there is no %s to change", file, m[0])
			}
			if err := checkDashboard([]byte(strings.Replace(string(b), m[0], m[1], 1)), known); err == nil {
				t.Errorf("%s: %s instead of %s was taken for right", file, m[1], m[0])
			}
		}
	}
	t.Logf("%d mistakes were found", made)
}
