// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"

	"github.com/renat-project/renat/internal/metrics"
)

// watched is for how long alerts are evaluated, once a minute.
const watched = 120 * time.Minute

// alertCase is what an alert does with what was scraped, once a minute.
type alertCase struct {
	alert, name string
	series      string   // in the notation of Prometheus' tests, one a line
	fires       []string // "node=a: 11m-26m" in minutes; none: it does not
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	byName, fires, silent := map[string]rulefmt.Rule{}, map[string]int{}, map[string]int{}
	for _, r := range alerts(t) {
		byName[r.Alert] = r
	}
	for _, c := range alertCases {
		if len(c.fires) > 0 {
			fires[c.alert]++
		} else {
			silent[c.alert]++
		}
		t.Run(c.alert+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			r, ok := byName[c.alert]
			if !ok {
				t.Fatal("there is no such alert")
			}
			if got := evaluate(t, r, c.series); !slices.Equal(got, c.fires) {
				t.Errorf("fires %q, want %q", got, c.fires)
			}
		})
	}
	for name := range byName {
		if fires[name] < 1 || silent[name] < 2 {
			t.Errorf("%s has %d cases in which it fires and %d in which it does not", name, fires[name], silent[name])
		}
	}
}

// evaluate returns when the alert fires, in order.
func evaluate(t *testing.T, r rulefmt.Rule, series string) (fired []string) {
	t.Helper()
	start := time.Unix(0, 0)
	q, err := newEngine(t).NewRangeQuery(t.Context(), newStore(t, series), nil, r.Expr, start, start.Add(watched), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	result := q.Exec(t.Context())
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	matrix, err := result.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range matrix {
		fired = append(fired, firing(t, r, s)...)
	}
	slices.Sort(fired)
	return fired
}

// firing applies "for" to where the expression has a value, as Prometheus does.
func firing(t *testing.T, r rulefmt.Rule, s promql.Series) (all []string) {
	hold := time.Duration(r.For).Milliseconds()
	var from, to, active int64 = -1, -1, -1
	end := func() {
		if from >= 0 {
			all = append(all, fmt.Sprintf("%s: %dm-%dm", short(s.Metric), from/60_000, to/60_000))
		}
		from, active = -1, -1
	}
	for n, p := range s.Floats {
		if n == 0 || p.T-s.Floats[n-1].T > 60_000 {
			end()
			active = p.T
		}
		if p.T-active >= hold {
			if from < 0 {
				from = p.T
				render(t, r, s.Metric.Map(), p.F)
			}
			to = p.T
		}
	}
	end()
	return all
}

// short writes labels without quotes.
func short(l labels.Labels) string {
	var pairs []string
	l.Range(func(l labels.Label) { pairs = append(pairs, l.Name+"="+l.Value) })
	return strings.Join(pairs, " ")
}

// render expands the annotations; nothing may be missing in them.
func render(t *testing.T, r rulefmt.Rule, of map[string]string, value float64) {
	t.Helper()
	data := template.AlertTemplateData(of, nil, "", promql.Sample{F: value})
	for _, key := range slices.Sorted(maps.Keys(r.Annotations)) {
		text := `{{$labels := .Labels}}{{$value := .Value}}` + r.Annotations[key]
		got, err := template.NewTemplateExpander(t.Context(), text, r.Alert, data, model.Time(0), nil, nil, nil).Expand()
		if err != nil || strings.Contains(got, "<no value>") || strings.Contains(got, "  ") || strings.Contains(got, "%!") || strings.HasSuffix(got, " ") {
			t.Errorf("%s is %q, %v", key, got, err)
		}
		t.Logf("%s: %s", key, got)
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
