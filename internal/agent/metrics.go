// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/renat-project/renat/correlator/incident"
)

// metrics are what /metrics serves: what is counted here as it happens, and
// what is read from the agent's parts when somebody asks.
type metrics struct {
	registry  *prometheus.Registry
	incidents *prometheus.CounterVec
	delay     prometheus.Histogram
	flowDelay prometheus.Histogram
}

func newMetrics(a *agent) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		incidents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "renat_incidents_total", Help: "Connections found broken.",
		}, []string{"kind", "cause", "outcome"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "renat_incident_delay_seconds",
			Help:    "From the last packet or map operation of an incident's evidence to its verdict, for incidents whose RST was seen.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		flowDelay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "renat_flow_delay_seconds", Help: "From Hubble's time of a flow to its arrival in the agent.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5},
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "renat_build_info", Help: "1, labelled with what this agent was built from.",
		ConstLabels: prometheus.Labels{"version": a.config.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.incidents, m.delay, m.flowDelay, build, readings{a},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) found(i *incident.Incident, delay time.Duration) {
	m.incidents.WithLabelValues(string(i.Kind), string(i.Cause), string(i.Outcome)).Inc()
	if i.Outcome == incident.Reset {
		m.delay.Observe(delay.Seconds())
	}
}
