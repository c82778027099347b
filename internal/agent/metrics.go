// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/renat-project/renat/correlator/incident"
	reference "github.com/renat-project/renat/internal/metrics"
)

// metrics are what /metrics serves: what is counted here as it happens, and
// what is read from the agent's parts when somebody asks.
type metrics struct {
	registry  *prometheus.Registry
	incidents *prometheus.CounterVec
	delay     prometheus.Observer
	flowDelay prometheus.Observer
}

func newMetrics(a *agent) *metrics {
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		incidents: reference.Agent.Get("renat_incidents_total").NewCounterVec(),
	}
	delay := reference.Agent.Get("renat_incident_delay_seconds").NewHistogramVec(.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	flowDelay := reference.Agent.Get("renat_flow_delay_seconds").NewHistogramVec(.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5)
	build := reference.Agent.Get("renat_build_info").NewGaugeVec()
	m.delay, m.flowDelay = delay.WithLabelValues(), flowDelay.WithLabelValues()
	build.WithLabelValues(a.config.Version, runtime.Version()).Set(1)
	for _, series := range reference.Agent.Get("renat_incidents_total").Series() {
		m.incidents.WithLabelValues(series...) // from 0 on: a rate needs the first one
	}
	m.registry.MustRegister(m.incidents, delay, flowDelay, build, readings{a},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) found(i *incident.Incident, delay time.Duration) {
	m.incidents.WithLabelValues(string(i.Kind), string(i.Cause), string(i.Outcome)).Inc()
	if i.Outcome == incident.Reset {
		m.delay.Observe(delay.Seconds())
	}
}
