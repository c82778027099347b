// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	reference "github.com/renat-project/renat/internal/metrics"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/kprobes"
)

// readings collects what the agent's parts count themselves.
type readings struct{ *agent }

func describe(name string) *prometheus.Desc { return reference.Agent.Get("renat_" + name).Desc() }

var (
	descEvents    = describe("events_total")
	descIgnored   = describe("events_ignored_total")
	descLate      = describe("events_late_total")
	descEarly     = describe("events_early_total")
	descLosses    = describe("losses_total")
	descSteps     = describe("clock_steps_total")
	descReady     = describe("part_ready")
	descTracked   = describe("tracked_connections")
	descTrackable = describe("tracked_connections_limit")
	descForgotten = describe("connections_forgotten_total")
	descSuspects  = describe("suspects")
	descHarmless  = describe("suspects_harmless_total")
	descHeld      = describe("held_events")

	descReconnects = describe("hubble_reconnects_total")
	descRestarts   = describe("hubble_restarts_total")
	descRepeats    = describe("hubble_repeated_flows_total")

	descWakeups = describe("kernel_wakeups_total")
	descMissing = describe("survey_missing_connections_total")
	descLeftOut = describe("survey_left_out_connections_total")

	descStored    = describe("outbox_stored_total")
	descForwarded = describe("outbox_forwarded_total")
	descWaiting   = describe("outbox_waiting_incidents")
	descQueued    = describe("outbox_queued_incidents")

	descProxied  = describe("observer_flows_total")
	descEnriched = describe("observer_enriched_flows_total")
	descCalls    = describe("observer_calls_total")
	descSlow     = describe("observer_lost_events_total")

	descAtRisk       = describe("connections_at_risk")
	descGuarded      = describe("guard_connections")
	descGuardLimit   = describe("guard_connections_limit")
	descGuardRuns    = describe("guard_runs_total")
	descGuardSeconds = describe("guard_cpu_seconds_total")
	descGuardEach    = describe("guard_connection_cpu_seconds")
	descGuardLost    = describe("guard_lost_entries_total")
	descGuardKept    = describe("guard_kept_connections_total")

	descMapMax       = describe("map_max_entries")
	descMapEvicts    = describe("map_evicts_from_entries")
	descMapEntries   = describe("map_entries")
	descMapInserts   = describe("map_inserts_total")
	descMapFailed    = describe("map_failed_inserts_total")
	descMapEvictions = describe("map_evictions_total")
	descMapForced    = describe("map_forced_evictions_total")
	descMapDeletes   = describe("map_deletes_total")
	descMapAlive     = describe("map_lost_alive_entries_total")
	descMapReplaced  = describe("map_replacements_total")
	descMapWithheld  = describe("map_withheld_inserts_total")
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
	counter(descMissing, s.Kernel.Missing)
	counter(descLeftOut, s.Kernel.LeftOut)
	counter(descStored, s.Outbox.Stored)
	counter(descForwarded, s.Outbox.Forwarded)
	gauge(descWaiting, float64(s.Outbox.Waiting))
	gauge(descQueued, float64(s.Outbox.Queued))
	proxied := r.observe.stats()
	counter(descCalls, proxied.Calls)
	counter(descProxied, proxied.Flows)
	counter(descEnriched, proxied.Enriched)
	counter(descSlow, proxied.Lost)
	if s.AtRisk != nil {
		gauge(descAtRisk, float64(*s.AtRisk))
	}
	if s.Guard != nil {
		gauge(descGuarded, float64(s.Guard.Connections))
		gauge(descGuardLimit, float64(s.Guard.Limit))
		counter(descGuardRuns, s.Guard.Runs)
		out <- prometheus.MustNewConstMetric(descGuardSeconds, prometheus.CounterValue, s.Guard.CPUSeconds)
		gauge(descGuardEach, s.Guard.NanosecondsPerConnection/1e9)
		counter(descGuardLost, s.Guard.Lost)
		counter(descGuardKept, s.Guard.Kept)
	}
	r.collectMaps(s, counter, gauge)
}

func (r readings) collectMaps(s *nodestatus.Status, counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	for _, m := range s.Maps {
		gauge(descMapMax, float64(m.MaxEntries), m.Name)
		if s.Machine.CPUs > 0 {
			gauge(descMapEvicts, float64(sizing.EvictsFrom(int(m.MaxEntries), s.Machine.CPUs, m.Distributed)), m.Name)
		}
		if m.Entries != nil {
			gauge(descMapEntries, float64(*m.Entries), m.Name)
		}
		counter(descMapReplaced, r.tally.replacements(m.Name), m.Name)
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
	if m.Map.CT {
		for cause, n := range lostAlive(m.Counters) {
			counter(descMapAlive, n, name, string(cause))
		}
	}
}
