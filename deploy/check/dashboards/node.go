// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// this is what the choices on top select.
func this(expr, legend string) *prometheus.DataqueryBuilder {
	return query(`cluster=~"$cluster",node=~"$node"`, expr, legend)
}

var node = page{
	name: "node", title: "renat / node", about: "One node's NAT maps, what broke there, and how well its agent sees.",
	refresh: "30s", from: "now-1h",
	// Not nodes, lest a link from the fleet brings more than one.
	choices: []cog.Builder[dashboard.VariableModel]{all(cluster), choice("node", "Node", nodesOfCluster)},
	rows: []row{
		{"Now", []panel{
			stats("Connections broken", "In the time that is shown.", "short", 4, this(`round(sum(increase(renat_incidents_total{$s}[$__range])))`, "")).Thresholds(bad(1)).DataLinks(incidents("&node=${node}")),
			stats("Evictions", "Of all NAT maps, over ten minutes.", "suffix:/s", 4, this(`sum(rate(renat_map_evictions_total{$s,`+natMaps+`}[10m]))`, "")).Thresholds(bad(.001)),
			stats("Fullest NAT map", "Entries, of the number from which on the kernel evicts. Needs Linux 6.8.", "percentunit", 4, this(`max(`+fullness+`)`, "")).Thresholds(near(.9, 1)),
			stats("Parts", "/readyz of the agent says what a part waits for.", "none", 8, this(`min by (part) (renat_part_ready{$s})`, "{{part}}")).Thresholds(above(1)).
				Mappings(named(map[float64]string{0: "waits", 1: "ready"})),
			stats("Up for", "Time since the agent's last start.", "s", 4, this(`time() - max(process_start_time_seconds{$s,job=~".*renat.*-agent"})`, "")),
		}},
		{"Connections", []panel{
			bars(lines("Broken, by kind and cause", "Connections found broken.", "suffix:/min", 8,
				this(`60 * sum by (kind, cause) (rate(renat_incidents_total{$s}[$__rate_interval]))`, "{{kind}} {{cause}}"))).DataLinks(incidents("&node=${node}&kind=${__field.labels.kind}&cause=${__field.labels.cause}")),
			bars(lines("Broken, by outcome", "reset: the RST was seen. dropped: its packets were, and none came through. timeout: what the pod sent was not answered. unconfirmed: none of these was seen, within --settle.", "suffix:/min", 8,
				this(`60 * sum by (outcome) (rate(renat_incidents_total{$s}[$__rate_interval]))`, "{{outcome}}"))).DataLinks(incidents("&node=${node}&outcome=${__field.labels.outcome}")),
			lines("Suspects", "Connections that lost their mapping: those that wait for a verdict, and those that turned out well.", "short", 8,
				this(`sum(renat_suspects{$s})`, "waiting"),
				this(`60 * sum(rate(renat_suspects_harmless_total{$s}[$__rate_interval]))`, "harmless a minute")),
		}},
		{"Maps", []panel{
			lines("Entries", "In each map, and from how many on the kernel evicts. Needs Linux 6.8.", "short", 12,
				this(`max by (map) (renat_map_entries{$s})`, "{{map}}"),
				this(`max by (map) (renat_map_evicts_from_entries{$s})`, "{{map}} evicts from"),
				this(`max by (map) (renat_map_max_entries{$s})`, "{{map}} size")),
			lines("Evictions", "Entries evicted to make room; forced ones were in recent use, and in a clogged map many are.", "suffix:/s", 12,
				this(`sum by (map) (rate(renat_map_evictions_total{$s}[$__rate_interval]))`, "{{map}}"),
				this(`sum by (map) (rate(renat_map_forced_evictions_total{$s}[$__rate_interval]))`, "{{map}} forced")),
			lines("New entries", "Updates that worked.", "suffix:/s", 8,
				this(`sum by (map) (rate(renat_map_inserts_total{$s}[$__rate_interval]))`, "{{map}}")),
			lines("Failed updates", "EEXIST on a NAT map: the source port was taken, and another is tried.", "suffix:/s", 8,
				this(`sum by (map, errno) (rate(renat_map_failed_inserts_total{$s}[$__rate_interval]))`, "{{map}} {{errno}}")),
			lines("Deletes", "syscall: a process, such as Cilium's garbage collector. program: Cilium's datapath.", "suffix:/s", 8,
				this(`sum by (map, by) (rate(renat_map_deletes_total{$s}[$__rate_interval]))`, "{{map}} {{by}}")),
		}},
		{"What the agent sees", []panel{
			lines("Events", "Flows from Hubble, and map operations from the kernel.", "suffix:/s", 8,
				this(`sum by (source) (rate(renat_events_total{$s}[$__rate_interval]))`, "{{source}}"),
				this(`sum(rate(renat_map_withheld_inserts_total{$s}[$__rate_interval]))`, "kernel, not sent to the agent")),
			lines("Lost", "By place. Incidents say in loss what was lost around them.", "suffix:/s", 8,
				this(`sum by (place) (rate(renat_losses_total{$s}[$__rate_interval]))`, "{{place}}")),
			lines("Out of order", "late: too late to be put in order. early: taken before their turn. ignored: other protocols.", "suffix:/s", 8,
				this(`sum(rate(renat_events_late_total{$s}[$__rate_interval]))`, "late"),
				this(`sum(rate(renat_events_early_total{$s}[$__rate_interval]))`, "early"),
				this(`sum(rate(renat_events_ignored_total{$s}[$__rate_interval]))`, "ignored")),
			lines("Delay of flows", "From Hubble's time of a flow to its arrival.", "s", 8,
				this(`histogram_quantile(0.5, sum by (le) (rate(renat_flow_delay_seconds_bucket{$s}[$__rate_interval])))`, "half"),
				this(`histogram_quantile(0.99, sum by (le) (rate(renat_flow_delay_seconds_bucket{$s}[$__rate_interval])))`, "99 %")),
			lines("Delay of incidents", "From the last evidence to the verdict, where an RST was seen.", "s", 8,
				this(`histogram_quantile(0.5, sum by (le) (rate(renat_incident_delay_seconds_bucket{$s}[$__rate_interval])))`, "half"),
				this(`histogram_quantile(0.99, sum by (le) (rate(renat_incident_delay_seconds_bucket{$s}[$__rate_interval])))`, "99 %")),
			lines("Interruptions", "In each interval: streams of flows that ended, restarts of Cilium's agent, settings of the clock.", "none", 8,
				this(`sum(increase(renat_hubble_reconnects_total{$s}[$__rate_interval]))`, "reconnects"),
				this(`sum(increase(renat_hubble_restarts_total{$s}[$__rate_interval]))`, "Cilium restarts"),
				this(`sum(increase(renat_clock_steps_total{$s}[$__rate_interval]))`, "clock set")),
			lines("Connections remembered", "At the limit those not heard of for longest go.", "short", 12,
				this(`sum(renat_tracked_connections{$s})`, "remembered"),
				this(`sum(renat_tracked_connections_limit{$s})`, "limit"),
				this(`sum(rate(renat_connections_forgotten_total{$s}[$__rate_interval]))`, "forgotten a second")),
			lines("Events held", "Events that wait for earlier ones.", "short", 12, this(`sum(renat_held_events{$s})`, "held")),
		}},
		{"Delivery", []panel{
			lines("Incidents stored and forwarded", "On the node's disk, and from there to NATS.", "suffix:/min", 12,
				this(`60 * sum(rate(renat_outbox_stored_total{$s}[$__rate_interval]))`, "stored"),
				this(`60 * sum(rate(renat_outbox_forwarded_total{$s}[$__rate_interval]))`, "forwarded")),
			lines("Incidents waiting", "On disk for NATS, and in memory for the disk.", "short", 12,
				this(`max(renat_outbox_waiting_incidents{$s})`, "for NATS"),
				this(`max(renat_outbox_queued_incidents{$s})`, "for the disk")).Thresholds(near(1000, 5000)).ThresholdsStyle(dashed),
		}},
		{"Observer proxy (--observer-listen)", []panel{
			lines("Flows passed on", "To all clients together, and those with something added.", "suffix:/s", 12,
				this(`sum(rate(renat_observer_flows_total{$s}[$__rate_interval]))`, "passed on"),
				this(`sum(rate(renat_observer_enriched_flows_total{$s}[$__rate_interval]))`, "with something added")),
			lines("Calls, and events lost", "As Hubble told its clients.", "suffix:/s", 12,
				this(`sum(rate(renat_observer_calls_total{$s}[$__rate_interval]))`, "calls"),
				this(`sum(rate(renat_observer_lost_events_total{$s}[$__rate_interval]))`, "lost")),
		}},
		{"Cost", []panel{
			lines("CPU", "Cores.", "short", 8, this(`sum(rate(process_cpu_seconds_total{$s,job=~".*renat.*-agent"}[$__rate_interval]))`, "agent")),
			lines("Memory", "Resident.", "bytes", 8, this(`sum(process_resident_memory_bytes{$s,job=~".*renat.*-agent"})`, "agent")),
			lines("Wakeups", "Times the reader of the kernel's events woke up.", "suffix:/s", 8, this(`sum(rate(renat_kernel_wakeups_total{$s}[$__rate_interval]))`, "reader")),
		}},
	},
}
