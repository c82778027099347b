// SPDX-License-Identifier: Apache-2.0

package metrics

const (
	connections = "connections"
	entries     = "entries"
	events      = "events"
	flows       = "flows"
	incidents   = "incidents"
	operations  = "operations"
	seconds     = "seconds"
	truth       = "0 or 1"
)

var buildInfo = Metric{"renat_build_info", Gauge, "1", "1, labelled with what this was built from.", []Label{version, goversion}}

// Agent is what renat agent exports.
var Agent = Set{
	buildInfo,

	{"renat_incidents_total", Counter, incidents, "Connections found broken.", []Label{kind, cause, outcome}},
	{"renat_incident_delay_seconds", Histogram, seconds, "From the last packet or map operation of an incident's evidence to its verdict, for incidents whose RST was seen.", nil},
	{"renat_suspects", Gauge, connections, "Connections that wait for their verdict.", nil},
	{"renat_suspects_harmless_total", Counter, connections, "Suspects that turned out well.", nil},

	{"renat_map_max_entries", Gauge, entries, "Size of a map.", []Label{natMap}},
	{"renat_map_entries", Gauge, entries, "Entries in a map, where the kernel counts them (Linux 6.8).", []Label{natMap}},
	{"renat_map_evicts_from_entries", Gauge, entries, "From how many entries on the kernel may evict: the size without the free entries that CPUs keep aside.", []Label{natMap}},
	{"renat_map_inserts_total", Counter, operations, "Updates of a map that worked.", []Label{natMap}},
	{"renat_map_failed_inserts_total", Counter, operations, "Updates of a map that failed.", []Label{natMap, errno}},
	{"renat_map_evictions_total", Counter, entries, "Entries the kernel evicted to make room, forced ones included.", []Label{natMap}},
	{"renat_map_forced_evictions_total", Counter, entries, "Evictions of entries that were in recent use, because none of those looked at was idle.", []Label{natMap}},
	{"renat_map_deletes_total", Counter, entries, "Entries deleted, by a BPF program or through the bpf syscall.", []Label{natMap, by}},
	{"renat_map_lost_alive_entries_total", Counter, entries, "Entries of a connection tracking map that were removed although their TCP connection was established, not closed, and had time left.", []Label{natMap, cause}},
	{"renat_map_replacements_total", Counter, "replacements", "Times Cilium replaced a map by an empty one, at which all of its entries went.", []Label{natMap}},
	{"renat_map_withheld_inserts_total", Counter, operations, "Inserts that could not matter and were not sent to the agent.", []Label{natMap}},

	{"renat_part_ready", Gauge, truth, "1 if a part of the agent is ready, 0 if it waits for something.", []Label{part}},
	{"renat_losses_total", Counter, "events or incidents", "Events and incidents lost, by place.", []Label{place}},
	{"renat_events_total", Counter, events, "Events taken in: flows, and operations on NAT and connection tracking maps.", []Label{source}},
	{"renat_events_ignored_total", Counter, events, "Events of other protocols, or without a believable time.", nil},
	{"renat_events_late_total", Counter, events, "Events that came too late to be put in their order.", nil},
	{"renat_events_early_total", Counter, events, "Events taken before their turn because too many waited.", nil},
	{"renat_held_events", Gauge, events, "Events that wait for earlier ones.", nil},
	{"renat_clock_steps_total", Counter, "steps", "Times the wall clock was set.", nil},
	{"renat_tracked_connections", Gauge, connections, "Connections remembered.", nil},
	{"renat_tracked_connections_limit", Gauge, connections, "Connections that can be remembered.", nil},
	{"renat_connections_forgotten_total", Counter, connections, "Connections dropped because the limit was reached.", nil},

	{"renat_flow_delay_seconds", Histogram, seconds, "From Hubble's time of a flow to its arrival in the agent.", nil},
	{"renat_hubble_reconnects_total", Counter, "streams", "Streams of flows that ended unasked.", nil},
	{"renat_hubble_restarts_total", Counter, "restarts", "Restarts of the Cilium agent noticed.", nil},
	{"renat_hubble_repeated_flows_total", Counter, flows, "Flows left out because they had come before.", nil},
	{"renat_survey_missing_connections_total", Counter, connections, "Tracked connections that a look at the maps found without one of their NAT entries, or both: at the start, for a new map, after losses. They break next.", nil},
	{"renat_survey_left_out_connections_total", Counter, connections, "Tracked connections that were too many for that look.", nil},
	{"renat_kernel_wakeups_total", Counter, "wakeups", "Times the reader of the kernel's events woke up.", nil},

	{"renat_outbox_stored_total", Counter, incidents, "Incidents put on this node's disk.", nil},
	{"renat_outbox_forwarded_total", Counter, incidents, "Incidents that arrived in NATS.", nil},
	{"renat_outbox_waiting_incidents", Gauge, incidents, "Incidents on disk that NATS does not have.", nil},
	{"renat_outbox_queued_incidents", Gauge, incidents, "Incidents that are not on disk yet.", nil},

	{"renat_connections_at_risk", Gauge, connections, "Connections that live and lack an entry, so that they break by their next packet.", nil},

	{"renat_guard_connections", Gauge, connections, "Connections whose entries --guard keeps, as of its last run.", nil},
	{"renat_guard_connections_limit", Gauge, connections, "Connections that --guard keeps at most.", nil},
	{"renat_guard_runs_total", Counter, "runs", "Times --guard looked entries up.", nil},
	{"renat_guard_cpu_seconds_total", Counter, seconds, "CPU time of these runs.", nil},
	{"renat_guard_connection_cpu_seconds", Gauge, seconds, "CPU time that a connection takes in a run, a mean.", nil},
	{"renat_guard_lost_entries_total", Counter, entries, "NAT entries evicted although --guard kept them.", nil},
	{"renat_guard_kept_connections_total", Counter, connections, "Estimate: times a guarded connection spoke after a silence in which its map evicted more entries than it holds.", nil},

	{"renat_observer_calls_total", Counter, "calls", "Calls passed on by --observer-listen.", nil},
	{"renat_observer_flows_total", Counter, flows, "Flows passed on by --observer-listen, to all clients together.", nil},
	{"renat_observer_enriched_flows_total", Counter, flows, "Flows passed on with something added.", nil},
	{"renat_observer_lost_events_total", Counter, events, "Events that Hubble told clients of --observer-listen it lost.", nil},
}
