// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/kprobes"
)

// readings collects what the agent's parts count themselves.
type readings struct{ *agent }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("renat_"+name, help, labels, nil)
}

var (
	descEvents    = describe("events_total", "Events taken in: flows, and operations on NAT and connection tracking maps.", "source")
	descIgnored   = describe("events_ignored_total", "Events of other protocols, or without a believable time.")
	descLate      = describe("events_late_total", "Events that came too late to be put in their order.")
	descEarly     = describe("events_early_total", "Events taken before their turn because too many waited.")
	descLosses    = describe("losses_total", "Events and incidents lost, by place.", "place")
	descSteps     = describe("clock_steps_total", "Times the wall clock was set.")
	descReady     = describe("part_ready", "1 if a part of the agent is ready, 0 if it waits for something.", "part")
	descTracked   = describe("tracked_connections", "Connections remembered.")
	descTrackable = describe("tracked_connections_limit", "Connections that can be remembered.")
	descForgotten = describe("connections_forgotten_total", "Connections dropped because the limit was reached.")
	descSuspects  = describe("suspects", "Connections that wait for their verdict.")
	descHarmless  = describe("suspects_harmless_total", "Suspects that turned out well.")
	descHeld      = describe("held_events", "Events that wait for earlier ones.")

	descReconnects = describe("hubble_reconnects_total", "Streams of flows that ended unasked.")
	descRestarts   = describe("hubble_restarts_total", "Restarts of the Cilium agent noticed.")
	descRepeats    = describe("hubble_repeated_flows_total", "Flows left out because they had come before.")

	descWakeups = describe("kernel_wakeups_total", "Times the reader of the kernel's events woke up.")

	descStored    = describe("outbox_stored_total", "Incidents put on this node's disk.")
	descForwarded = describe("outbox_forwarded_total", "Incidents that arrived in NATS.")
	descWaiting   = describe("outbox_waiting_incidents", "Incidents on disk that NATS does not have.")
	descQueued    = describe("outbox_queued_incidents", "Incidents that are not on disk yet.")

	descProxied  = describe("observer_flows_total", "Flows passed on by --observer-listen, to all clients together.")
	descEnriched = describe("observer_enriched_flows_total", "Flows passed on with something added.")
	descCalls    = describe("observer_calls_total", "Calls passed on by --observer-listen.")
	descSlow     = describe("observer_lost_events_total", "Events that Hubble told clients of --observer-listen it lost.")

	descMapMax       = describe("map_max_entries", "Size of a map.", "map")
	descMapEntries   = describe("map_entries", "Entries in a map, where the kernel counts them (Linux 6.8).", "map")
	descMapInserts   = describe("map_inserts_total", "Updates of a map that worked.", "map")
	descMapFailed    = describe("map_failed_inserts_total", "Updates of a map that failed.", "map", "errno")
	descMapEvictions = describe("map_evictions_total", "Entries the kernel evicted to make room, forced ones included.", "map")
	descMapForced    = describe("map_forced_evictions_total", "Evictions of entries that were in recent use.", "map")
	descMapDeletes   = describe("map_deletes_total", "Entries deleted, by a BPF program or through the bpf syscall.", "map", "by")
	descMapWithheld  = describe("map_withheld_inserts_total", "Inserts that could not matter and were not sent to the agent.", "map")
)

// Describe implements prometheus.Collector. It tells nothing, as what there is
// changes with Cilium's maps.
func (r readings) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r readings) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	s, tracked, flows := r.status(), r.tracker.stats(), r.flows.Stats()
	counter(descEvents, tracked.Flows, "hubble")
	counter(descEvents, tracked.NATChanges, "kernel")
	counter(descIgnored, tracked.Ignored)
	counter(descLate, tracked.Late)
	counter(descEarly, tracked.Early)
	counter(descSteps, s.ClockSteps)
	box := r.outbox.Status()
	for place, n := range losses(&tracked, &box) { // from 0 on: a rate needs the first one
		counter(descLosses, n, place)
	}
	for _, p := range s.Parts {
		ready := 0.0
		if p.Ready {
			ready = 1
		}
		gauge(descReady, ready, p.Name)
	}
	gauge(descTracked, float64(tracked.Connections))
	gauge(descTrackable, float64(s.Tracking.MaxConnections))
	counter(descForgotten, tracked.ConnectionsForgotten)
	gauge(descSuspects, float64(tracked.Suspects))
	counter(descHarmless, tracked.Harmless)
	gauge(descHeld, float64(tracked.Held))
	counter(descReconnects, flows.Reconnects)
	counter(descRestarts, flows.Restarts)
	counter(descRepeats, flows.Repeats)
	counter(descStored, s.Outbox.Stored)
	counter(descForwarded, s.Outbox.Forwarded)
	gauge(descWaiting, float64(s.Outbox.Waiting))
	gauge(descQueued, float64(s.Outbox.Queued))
	proxied := r.observe.stats()
	counter(descCalls, proxied.Calls)
	counter(descProxied, proxied.Flows)
	counter(descEnriched, proxied.Enriched)
	counter(descSlow, proxied.Lost)
	r.collectMaps(s, counter, gauge)
}

func (r readings) collectMaps(s *nodestatus.Status, counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	for _, m := range s.Maps {
		gauge(descMapMax, float64(m.MaxEntries), m.Name)
		if m.Entries != nil {
			gauge(descMapEntries, float64(*m.Entries), m.Name)
		}
	}
	stats, err := r.config.Kernel.Stats()
	if err != nil {
		return // part_ready says so
	}
	counter(descWakeups, stats.Wakeups)
	for _, m := range stats.Maps {
		collectMap(m, counter)
	}
}

func collectMap(m kprobes.MapStats, counter func(*prometheus.Desc, uint64, ...string)) {
	name := m.Map.Name
	counter(descMapInserts, m.Inserts, name)
	counter(descMapFailed, m.FailedEEXIST, name, "EEXIST")
	counter(descMapFailed, m.FailedENOMEM, name, "ENOMEM")
	counter(descMapFailed, m.FailedEBUSY, name, "EBUSY")
	counter(descMapFailed, m.FailedOther, name, "other")
	counter(descMapEvictions, m.Evictions, name)
	counter(descMapForced, m.Forced, name)
	counter(descMapDeletes, m.DeletesSyscall, name, "syscall")
	counter(descMapDeletes, m.DeletesProgram, name, "program")
	counter(descMapDeletes, m.DeletesUnknown, name, "unknown")
	counter(descMapWithheld, m.Withheld, name)
}
