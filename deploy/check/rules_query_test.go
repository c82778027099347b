// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	syntax "github.com/prometheus/prometheus/promql/parser"

	"github.com/renat-project/renat/internal/metrics"
)

var parser = syntax.NewParser(syntax.Options{})

// foreign are the metrics of others that rules and dashboards may use, with the
// labels that count.
var foreign = metrics.Set{
	{Name: "up", Type: metrics.Gauge},
	{Name: "process_cpu_seconds_total", Type: metrics.Counter},
	{Name: "process_resident_memory_bytes", Type: metrics.Gauge},
	{Name: "process_start_time_seconds", Type: metrics.Gauge},
	{Name: "kube_daemonset_status_desired_number_scheduled", Type: metrics.Gauge, Labels: []metrics.Label{{Name: "daemonset"}}},
	{Name: "kube_daemonset_status_updated_number_scheduled", Type: metrics.Gauge, Labels: []metrics.Label{{Name: "daemonset"}}},
}

// checkQuery parses a query and returns the labels of its result. The error
// tells which metric, label or label value nobody exports.
func checkQuery(query string) (names []string, err error) {
	e, err := parser.ParseExpr(query)
	if err != nil {
		return nil, err
	}
	return labelsOf(e, false)
}

// labelsOf checks an expression; counts says that a function for counters is
// around it.
func labelsOf(e syntax.Expr, counts bool) ([]string, error) {
	switch e := e.(type) {
	case *syntax.ParenExpr:
		return labelsOf(e.Expr, counts)
	case *syntax.UnaryExpr:
		return labelsOf(e.Expr, counts)
	case *syntax.StepInvariantExpr:
		return labelsOf(e.Expr, counts)
	case *syntax.SubqueryExpr:
		return labelsOf(e.Expr, counts)
	case *syntax.MatrixSelector:
		return labelsOf(e.VectorSelector, counts)
	case *syntax.VectorSelector:
		return labelsOfSelector(e, counts)
	case *syntax.AggregateExpr:
		return labelsOfAggregate(e)
	case *syntax.BinaryExpr:
		return labelsOfBinary(e)
	case *syntax.Call:
		return labelsOfCall(e)
	case *syntax.NumberLiteral, *syntax.StringLiteral:
		return nil, nil
	}
	return nil, fmt.Errorf("%s: this check knows no %T", e, e)
}

func labelsOfSelector(e *syntax.VectorSelector, counts bool) ([]string, error) {
	m, err := lookup(e.Name)
	if err != nil {
		return nil, err
	}
	if (m.Type == metrics.Counter) != counts {
		return nil, fmt.Errorf("%s is a %s: a function for counters belongs around those only", e.Name, m.Type)
	}
	all := append(slices.Clone(m.Labels), metrics.Target...)
	var errs []error
	for _, by := range e.LabelMatchers {
		if by.Name != model.MetricNameLabel {
			errs = append(errs, checkMatcher(by, all))
		}
	}
	return metrics.Metric{Labels: all}.LabelNames(), errors.Join(errs...)
}

// lookup finds a metric by the name of one of its series.
func lookup(name string) (metrics.Metric, error) {
	for _, m := range append(metrics.All(), foreign...) {
		if m.Type != metrics.Histogram {
			if m.Name == name {
				return m, nil
			}
			continue
		}
		part := metrics.Metric{Name: name, Type: metrics.Counter, Labels: slices.Clone(m.Labels)}
		switch name {
		case m.Name + "_sum", m.Name + "_count":
			return part, nil
		case m.Name + "_bucket":
			part.Labels = append(part.Labels, metrics.Label{Name: "le"})
			return part, nil
		}
	}
	return metrics.Metric{}, fmt.Errorf("nobody exports the metric %q", name)
}

func checkMatcher(m *labels.Matcher, known []metrics.Label) error {
	n := slices.IndexFunc(known, func(l metrics.Label) bool { return l.Name == m.Name })
	if n < 0 {
		return fmt.Errorf("the metric has no label %q", m.Name)
	}
	l := known[n]
	if l.Values == nil {
		return nil
	}
	has := func(value string) bool {
		return slices.ContainsFunc(l.Values, func(v metrics.Value) bool { return v.Name == value })
	}
	wanted := m.SetMatches()
	if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
		wanted = []string{m.Value}
	}
	for _, value := range wanted {
		if !has(value) {
			return fmt.Errorf("the label %s never is %q", m.Name, value)
		}
	}
	if len(wanted) == 0 && m.Value != ".*" && !slices.ContainsFunc(l.Values, func(v metrics.Value) bool { return m.Matches(v.Name) }) {
		return fmt.Errorf("no value of the label %s passes %s", m.Name, m)
	}
	return nil
}

func labelsOfAggregate(e *syntax.AggregateExpr) ([]string, error) {
	inner, err := labelsOf(e.Expr, false)
	if err != nil {
		return nil, err
	}
	if err := within(e.Grouping, inner); err != nil {
		return nil, err
	}
	switch {
	case e.Op == syntax.TOPK || e.Op == syntax.BOTTOMK:
		return inner, nil
	case e.Without:
		return without(inner, e.Grouping), nil
	}
	return e.Grouping, nil
}

func labelsOfBinary(e *syntax.BinaryExpr) ([]string, error) {
	left, err := labelsOf(e.LHS, false)
	if err != nil {
		return nil, err
	}
	right, err := labelsOf(e.RHS, false)
	if err != nil {
		return nil, err
	}
	m := e.VectorMatching
	switch {
	case m == nil && e.LHS.Type() == syntax.ValueTypeScalar:
		return right, nil
	case m == nil:
		return left, nil
	}
	if err := errors.Join(within(m.MatchingLabels, left), within(m.MatchingLabels, right), within(m.Include, append(right, left...))); err != nil {
		return nil, err
	}
	switch {
	case e.Op == syntax.LOR:
		return append(slices.Clone(left), right...), nil
	case e.Op.IsSetOperator():
		return left, nil
	case m.Card == syntax.CardManyToOne:
		return append(slices.Clone(left), m.Include...), nil
	case m.Card == syntax.CardOneToMany:
		return append(slices.Clone(right), m.Include...), nil
	case m.On:
		return m.MatchingLabels, nil
	}
	return without(left, m.MatchingLabels), nil
}

// forCounters are the functions that expect counters.
var forCounters = []string{"rate", "increase", "irate", "resets", "last_over_time"}

func labelsOfCall(e *syntax.Call) (names []string, err error) {
	for _, arg := range e.Args {
		inner, err := labelsOf(arg, slices.Contains(forCounters, e.Func.Name))
		if err != nil {
			return nil, err
		}
		names = append(names, inner...)
	}
	switch e.Func.Name {
	case "histogram_quantile":
		return without(names, []string{"le"}), within([]string{"le"}, names)
	case "label_replace", "label_join":
		return append(names, e.Args[1].(*syntax.StringLiteral).Val), nil
	}
	return names, nil
}

func within(names, of []string) error {
	for _, name := range names {
		if !slices.Contains(of, name) {
			return fmt.Errorf("there is no label %q, only %s", name, strings.Join(of, ", "))
		}
	}
	return nil
}

func without(names, these []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(these, name) })
}
