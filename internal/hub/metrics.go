// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/renat-project/renat/internal/hub/delivery"
	"github.com/renat-project/renat/internal/hub/grouping"
)

type metrics struct {
	active, reloadOK             prometheus.Gauge
	reloads                      *prometheus.CounterVec
	incidents, notifications     *prometheus.CounterVec
	seconds                      *prometheus.HistogramVec
	groups, pending, queue, open *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "renat_hub_" + name, Help: help}, []string{"receiver"})
		r.MustRegister(g)
		return g
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "renat_hub_" + name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	m := &metrics{
		active:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "renat_hub_active", Help: "1 if this hub has the lease and delivers, 0 if it stands by."}),
		reloadOK:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "renat_hub_config_last_reload_successful", Help: "1 if the configuration was right when last read."}),
		reloads:       counter("config_reloads_total", "Times the configuration was read.", "result"),
		incidents:     counter("incidents_total", "Incidents by what became of them: held for a notification, unmatched, known from before, below the threshold, garbled.", "receiver", "fate"),
		notifications: counter("notifications_total", "Attempts to notify by result: delivered, retried (to be tried again), dead (given up).", "receiver", "result"),
		groups:        gauge("groups", "Groups that are known."),
		pending:       gauge("pending_incidents", "Incidents not acknowledged yet: they wait for a notification, or it for delivery."),
		queue:         gauge("queued_notifications", "Notifications that wait to be sent."),
		open:          gauge("circuit_open", "1 if the destination failed so often that it is left alone for now, 2 if it said that it is gone."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "renat_hub_send_seconds", Help: "How long an attempt to send took.", Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 60},
		}, []string{"receiver"}),
	}
	r.MustRegister(m.active, m.reloadOK, m.seconds)
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

// laneMetrics are those of one receiver.
type laneMetrics struct {
	held, unmatched, known, below, garbled prometheus.Counter
	delivered, retried, dead               prometheus.Counter
	seconds                                prometheus.Observer
	groups, pending, queue, open           prometheus.Gauge
}

func (m *metrics) of(receiver string) laneMetrics {
	fate := func(s string) prometheus.Counter { return m.incidents.WithLabelValues(receiver, s) }
	result := func(s string) prometheus.Counter { return m.notifications.WithLabelValues(receiver, s) }
	return laneMetrics{
		held: fate("held"), unmatched: fate("unmatched"), known: fate("known"), below: fate("below_threshold"), garbled: fate("garbled"),
		delivered: result("delivered"), retried: result("retried"), dead: result("dead"),
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
