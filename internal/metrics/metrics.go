// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Type is the Prometheus type of a metric.
type Type string

// The types in use, as the text format names them.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Metric describes one metric.
type Metric struct {
	Name   string
	Type   Type
	Unit   string // of the value
	Help   string // a sentence, also the HELP line of /metrics
	Labels []Label
}

// Label is one of a metric's labels.
type Label struct {
	Name    string
	Meaning string
	// Values are all that it can have; none if they come from outside.
	Values []Value
}

// Value is one value of a Label.
type Value struct{ Name, Meaning string }

// Set is what one component exports.
type Set []Metric

// All returns the metrics of agent and hub; what both export comes once.
func All() Set {
	all := append(Set{}, Agent...)
	for _, m := range Hub {
		if _, both := Agent.find(m.Name); !both {
			all = append(all, m)
		}
	}
	return all
}

func (s Set) find(name string) (Metric, bool) {
	for _, m := range s {
		if m.Name == name {
			return m, true
		}
	}
	return Metric{}, false
}

// Get returns the metric of this name. That there is none is a mistake of the
// program, and panics.
func (s Set) Get(name string) Metric {
	m, ok := s.find(name)
	if !ok {
		panic(fmt.Sprintf("metric %s is not in the reference", name))
	}
	return m
}

// LabelNames returns the names of the labels, in the order that values are
// given in.
func (m Metric) LabelNames() (names []string) {
	for _, l := range m.Labels {
		names = append(names, l.Name)
	}
	return names
}

// Series returns all combinations of the labels' values, each in the order of
// LabelNames. None of the labels may be open.
func (m Metric) Series() [][]string {
	all := [][]string{nil}
	for _, l := range m.Labels {
		var longer [][]string
		for _, s := range all {
			for _, v := range l.Values {
				longer = append(longer, append(append([]string{}, s...), v.Name))
			}
		}
		all = longer
	}
	return all
}

// Desc returns the description for metrics made while they are collected.
func (m Metric) Desc() *prometheus.Desc {
	return prometheus.NewDesc(m.Name, m.Help, m.LabelNames(), nil)
}

// NewGauge returns the metric, which has no labels.
func (m Metric) NewGauge() prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: m.Name, Help: m.Help})
}

// NewGaugeVec returns the metric.
func (m Metric) NewGaugeVec() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.Name, Help: m.Help}, m.LabelNames())
}

// NewCounterVec returns the metric.
func (m Metric) NewCounterVec() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.LabelNames())
}

// NewHistogramVec returns the metric; with no labels, its only member is that
// of WithLabelValues().
func (m Metric) NewHistogramVec(buckets ...float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: buckets}, m.LabelNames())
}
