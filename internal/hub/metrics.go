// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/renat-project/renat/internal/hub/delivery"
	"github.com/renat-project/renat/internal/hub/grouping"
	reference "github.com/renat-project/renat/internal/metrics"
)

type metrics struct {
	active, reloadOK             prometheus.Gauge
	reloads                      *prometheus.CounterVec
	incidents, notifications     *prometheus.CounterVec
	partly                       *prometheus.CounterVec
	seconds                      *prometheus.HistogramVec
	groups, pending, queue, open *prometheus.GaugeVec
	unreadable                   prometheus.Counter
	others                       prometheus.Gauge
}

// newMetrics registers the metrics of a hub of this version, which notifies or
// has only the page.
func newMetrics(r prometheus.Registerer, version string, notifies bool) *metrics {
	hub := reference.Hub.Get
	build := hub("renat_build_info").NewGaugeVec()
	build.WithLabelValues(version, runtime.Version()).Set(1)
	unreadable := hub("renat_hub_unreadable_messages_total").NewCounterVec()
	m := &metrics{
		active:        hub("renat_hub_active").NewGauge(),
		reloadOK:      hub("renat_hub_config_last_reload_successful").NewGauge(),
		reloads:       hub("renat_hub_config_reloads_total").NewCounterVec(),
		incidents:     hub("renat_hub_incidents_total").NewCounterVec(),
		notifications: hub("renat_hub_notifications_total").NewCounterVec(),
		partly:        hub("renat_hub_partial_deliveries_total").NewCounterVec(),
		seconds:       hub("renat_hub_send_seconds").NewHistogramVec(.01, .05, .1, .5, 1, 5, 10, 60),
		groups:        hub("renat_hub_groups").NewGaugeVec(),
		pending:       hub("renat_hub_pending_incidents").NewGaugeVec(),
		queue:         hub("renat_hub_queued_notifications").NewGaugeVec(),
		open:          hub("renat_hub_circuit_open").NewGaugeVec(),
		unreadable:    unreadable.WithLabelValues(),
		others:        hub("renat_hub_other_messages").NewGauge(),
	}
	r.MustRegister(build, m.reloadOK, m.reloads, m.incidents, m.notifications, m.partly, m.seconds, m.groups, m.pending, m.queue, m.open, unreadable, m.others,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, series := range hub("renat_hub_config_reloads_total").Series() {
		m.reloads.WithLabelValues(series...)
	}
	if notifies { // else it would look like one that waits to become active
		r.MustRegister(m.active)
	}
	return m
}

func (m *metrics) reloaded(err error) {
	if err != nil {
		m.reloadOK.Set(0)
		m.reloads.WithLabelValues("failed").Inc()
		return
	}
	m.reloadOK.Set(1)
	m.reloads.WithLabelValues("ok").Inc()
}

// forget removes what says how a receiver is now, when it is no more.
func (m *metrics) forget(receiver string) {
	for _, g := range []*prometheus.GaugeVec{m.groups, m.pending, m.queue, m.open} {
		g.DeleteLabelValues(receiver)
	}
}

// dropped counts what left the stream before the receiver's lane could read it.
// It is there before the hub is active: the first thing that one which takes
// over finds may be such a loss, and Prometheus sees only what grows.
func (m *metrics) dropped(receiver string) prometheus.Counter {
	return m.incidents.WithLabelValues(receiver, "dropped")
}

// laneMetrics are those of one receiver.
type laneMetrics struct {
	held, unmatched, known, below, garbled, dropped prometheus.Counter
	delivered, retried, dead, partly                prometheus.Counter
	seconds                                         prometheus.Observer
	groups, pending, queue, open                    prometheus.Gauge
}

func (m *metrics) of(receiver string) laneMetrics {
	fate := func(s string) prometheus.Counter { return m.incidents.WithLabelValues(receiver, s) }
	result := func(s string) prometheus.Counter { return m.notifications.WithLabelValues(receiver, s) }
	return laneMetrics{
		held: fate("held"), unmatched: fate("unmatched"), known: fate("known"), below: fate("below_threshold"), garbled: fate("garbled"), dropped: m.dropped(receiver),
		delivered: result("delivered"), retried: result("retried"), dead: result("dead"),
		partly:  m.partly.WithLabelValues(receiver),
		seconds: m.seconds.WithLabelValues(receiver),
		groups:  m.groups.WithLabelValues(receiver), pending: m.pending.WithLabelValues(receiver),
		queue: m.queue.WithLabelValues(receiver), open: m.open.WithLabelValues(receiver),
	}
}

func (m *laneMetrics) incident(f grouping.Fate) {
	switch f {
	case grouping.Held:
		m.held.Inc()
	case grouping.Unmatched:
		m.unmatched.Inc()
	case grouping.Known:
		m.known.Inc()
	}
}

func (m *laneMetrics) state(g *grouping.Grouper, q *delivery.Queue[*parcel]) {
	m.groups.Set(float64(g.Len()))
	m.pending.Set(float64(g.Held()))
	m.queue.Set(float64(q.Len()))
	switch q.Circuit() {
	case delivery.Open:
		m.open.Set(1)
	case delivery.Ended:
		m.open.Set(2)
	default:
		m.open.Set(0)
	}
}
