// SPDX-License-Identifier: Apache-2.0

// Package metricstest compares what a component really serves with the
// reference. Compare may be called from any goroutine.
package metricstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/renat-project/renat/internal/metrics"
)

// Compare reads the answer of /metrics and returns how renat's metrics in it
// differ from want: names, types, help, labels, and values of labels. Metrics
// whose label values come from outside must be there, too.
func Compare(answer string, want metrics.Set) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(answer))
	if err != nil {
		return fmt.Errorf("reading /metrics: %w", err)
	}
	var errs []error
	for _, m := range want {
		if families[m.Name] == nil {
			errs = append(errs, fmt.Errorf("%s is in the reference and not served", m.Name))
			continue
		}
		errs = append(errs, compare(families[m.Name], m))
		delete(families, m.Name)
	}
	for name := range families {
		if strings.HasPrefix(name, "renat_") {
			errs = append(errs, fmt.Errorf("%s is served and not in the reference", name))
		}
	}
	return errors.Join(errs...)
}

func compare(f *dto.MetricFamily, m metrics.Metric) error {
	if got := metrics.Type(strings.ToLower(f.GetType().String())); got != m.Type {
		return fmt.Errorf("%s is a %s, not a %s", m.Name, got, m.Type)
	}
	if f.GetHelp() != m.Help {
		return fmt.Errorf("%s says %q, not %q", m.Name, f.GetHelp(), m.Help)
	}
	for _, series := range f.GetMetric() {
		var names []string
		for _, pair := range series.GetLabel() {
			names = append(names, pair.GetName())
			known := slices.ContainsFunc(m.Labels, func(l metrics.Label) bool {
				return l.Name == pair.GetName() && (l.Values == nil ||
					slices.ContainsFunc(l.Values, func(v metrics.Value) bool { return v.Name == pair.GetValue() }))
			})
			if !known {
				return fmt.Errorf("%s has the label %s=%q, which the reference does not", m.Name, pair.GetName(), pair.GetValue())
			}
		}
		if len(names) != len(m.Labels) {
			return fmt.Errorf("%s has the labels %v, not %v", m.Name, names, m.LabelNames())
		}
	}
	return nil
}
