// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// natMaps matches the maps that break connections when they evict.
const natMaps = `map=~"cilium_(per_cluster_)?snat_.+"`

// nodes and hubs are what the choices on top select.
func nodes(expr, legend string) *prometheus.DataqueryBuilder {
	return query(`cluster=~"$cluster",node=~"$nodes"`, expr, legend)
}

func hubs(expr, legend string) *prometheus.DataqueryBuilder {
	return query(`cluster=~"$cluster"`, expr, legend)
}

var (
	cluster        = choice("cluster", "Cluster", "label_values(renat_part_ready, cluster)")
	fullness       = `max by (cluster, node) (renat_map_entries{$s,` + natMaps + `} / renat_map_evicts_from_entries)`
	nodesOfCluster = `label_values(renat_part_ready{cluster=~"$cluster"}, node)`
	notReady       = `(min by (cluster, node) (renat_part_ready{$s}) == 0)`
)

var fleet = page{
	name: "fleet", title: "renat / fleet", about: "Which connections Cilium's NAT map broke, on which nodes, and whether renat sees and tells it.",
	refresh: "1m", from: "now-6h", choices: []cog.Builder[dashboard.VariableModel]{all(cluster), all(choice("nodes", "Nodes", nodesOfCluster))},
	rows: []row{
		{"Now", []panel{
			stats("Connections broken", "In the time that is shown.", "short", 4, nodes(`round(sum(increase(renat_incidents_total{$s}[$__range])))`, "")).Thresholds(bad(1)).DataLinks(incidents("")),
			stats("Nodes breaking", "Nodes on which a connection broke in the last ten minutes.", "none", 4,
				nodes(`count(sum by (cluster, node) (increase(renat_incidents_total{$s}[10m])) > 0) or vector(0)`, "")).Thresholds(bad(1)),
			stats("Nodes evicting", "Nodes whose NAT maps evicted entries in the last ten minutes.", "none", 4,
				nodes(`count(sum by (cluster, node) (increase(renat_map_evictions_total{$s,`+natMaps+`}[10m])) > 0) or vector(0)`, "")).Thresholds(bad(1)),
			stats("Fullest NAT map", "Entries, of the number from which on the kernel evicts. Needs Linux 6.8.", "percentunit", 4, nodes(`max(`+fullness+`)`, "")).Thresholds(near(.9, 1)),
			stats("Agents not ready", "Agents of which a part waits for something.", "none", 4, nodes(`count`+notReady+` or vector(0)`, "")).Thresholds(bad(1)),
			stats("Agents", "Nodes with an agent that answers.", "none", 4, nodes(`count(count by (cluster, node) (renat_part_ready{$s}))`, "")),
		}},
		{"Connections broken", []panel{
			bars(lines("By kind", "renat: the pod's packet got another source port. orphaned_reply: the server's packet was reset by the node. tracking_lost: its tracking entry was removed alive. no_port: connections to a server could not be opened. egress_changed: another address. map_replaced: several, by one replacement.", "suffix:/min", 8,
				nodes(`60 * sum by (kind) (rate(renat_incidents_total{$s}[$__rate_interval]))`, "{{kind}}"))).DataLinks(incidents("&kind=${__field.labels.kind}")),
			bars(lines("By cause", "What removed the connection's entry from the map.", "suffix:/min", 8,
				nodes(`60 * sum by (cause) (rate(renat_incidents_total{$s}[$__rate_interval]))`, "{{cause}}"))).DataLinks(incidents("&cause=${__field.labels.cause}")),
			bars(lines("By outcome", "reset: the RST was seen. dropped: its packets were, and none came through. timeout: what the pod sent was not answered. unconfirmed: none of these was seen, within --settle.", "suffix:/min", 8,
				nodes(`60 * sum by (outcome) (rate(renat_incidents_total{$s}[$__rate_interval]))`, "{{outcome}}"))).DataLinks(incidents("&outcome=${__field.labels.outcome}")),
		}},
		{"Nodes", []panel{
			byNode("Nodes", "Over the time that is shown; the worst first. A node's name leads to its dashboard, and to its incidents.",
				column{"broken", "short", 1, nodes(`round(sum by (cluster, node) (increase(renat_incidents_total{$s}[$__range])))`, "")},
				column{"evictions/s", "short", .001, nodes(`sum by (cluster, node) (rate(renat_map_evictions_total{$s,`+natMaps+`}[$__range]))`, "")},
				column{"of these forced", "percentunit", .02, nodes(`sum by (cluster, node) (rate(renat_map_forced_evictions_total{$s,`+natMaps+`}[$__range])) / (sum by (cluster, node) (rate(renat_map_evictions_total{$s,`+natMaps+`}[$__range])) > 0)`, "")},
				column{"full", "percentunit", .9, nodes(fullness, "")},
				column{"lost", "short", 1, nodes(`round(sum by (cluster, node) (increase(renat_losses_total{$s}[$__range])))`, "")},
				column{"parts not ready", "none", 1, nodes(`sum by (cluster, node) (1 - renat_part_ready{$s})`, "")},
			),
		}},
		{"NAT maps", []panel{
			lines("Evictions", "The ten nodes with most. In a map that is large enough there are none.", "suffix:/s", 8,
				nodes(`topk(10, sum by (cluster, node) (rate(renat_map_evictions_total{$s,`+natMaps+`}[$__rate_interval])))`, "{{node}}")),
			lines("Fullness", "Entries, of the number from which on the kernel evicts: the ten fullest. Needs Linux 6.8.", "percentunit", 8,
				nodes(`topk(10, `+fullness+`)`, "{{node}}")).Thresholds(near(.9, 1)).ThresholdsStyle(dashed),
			lines("New entries that found the port taken", "More than one for each entry that is made: ports run out, and a larger map does not help.", "short", 8,
				nodes(`topk(10, sum by (cluster, node) (rate(renat_map_failed_inserts_total{$s,errno="EEXIST",`+natMaps+`}[$__rate_interval])) / (sum by (cluster, node) (rate(renat_map_inserts_total{$s,`+natMaps+`}[$__rate_interval])) > 0))`, "{{node}}")),
		}},
		{"What renat misses", []panel{
			lines("Lost, by place", "Flows that Hubble lost, map operations that the agent missed, incidents that were dropped.", "suffix:/s", 8,
				nodes(`sum by (place) (rate(renat_losses_total{$s}[$__rate_interval]))`, "{{place}}")),
			lines("Lost, by node", "The ten nodes that lose most.", "suffix:/s", 8,
				nodes(`topk(10, sum by (cluster, node) (rate(renat_losses_total{$s}[$__rate_interval])))`, "{{node}}")),
			stacked(lines("Agents not ready, by part", "kernel: it sees no evictions. hubble: no flows. outbox, nats: incidents do not leave the node.", "none", 8,
				nodes(`sum by (part) (1 - renat_part_ready{$s})`, "{{part}}"))),
		}},
		{"Delivery", []panel{
			lines("Incidents waiting for NATS", "On the nodes' disks: the ten nodes with most.", "short", 8,
				nodes(`topk(10, max by (cluster, node) (renat_outbox_waiting_incidents{$s}))`, "{{node}}")),
			bars(lines("Notifications", "Attempts, by receiver and result.", "suffix:/min", 8,
				hubs(`60 * sum by (receiver, result) (rate(renat_hub_notifications_total{$s}[$__rate_interval]))`, "{{receiver}} {{result}}"))),
			lines("Waiting in the hub", "Incidents of which a receiver has not been told yet.", "short", 8,
				hubs(`max by (receiver) (renat_hub_pending_incidents{$s})`, "{{receiver}}")),
			stats("Active hubs", "One of them delivers; none: nobody is notified.", "none", 4, hubs(`sum(renat_hub_active{$s})`, "")).Thresholds(above(1)),
			stats("Destinations", "failing: left alone for now. gone: it said so, and nothing is sent any more.", "none", 12, hubs(`max by (receiver) (renat_hub_circuit_open{$s})`, "{{receiver}}")).Thresholds(near(1, 2)).
				Mappings(named(map[float64]string{0: "in use", 1: "failing", 2: "gone"})),
			lines("Time to send", "99 % of attempts take less.", "s", 8,
				hubs(`histogram_quantile(0.99, sum by (le, receiver) (rate(renat_hub_send_seconds_bucket{$s}[$__rate_interval])))`, "{{receiver}}")),
		}},
		{"Cost", []panel{
			lines("CPU of the agents", "Cores.", "short", 8,
				nodes(`max(rate(process_cpu_seconds_total{$s,job=~".*renat.*-agent"}[$__rate_interval]))`, "most"),
				nodes(`avg(rate(process_cpu_seconds_total{$s,job=~".*renat.*-agent"}[$__rate_interval]))`, "mean")),
			lines("Memory of the agents", "Resident.", "bytes", 8,
				nodes(`max(process_resident_memory_bytes{$s,job=~".*renat.*-agent"})`, "most"),
				nodes(`avg(process_resident_memory_bytes{$s,job=~".*renat.*-agent"})`, "mean")),
			stacked(lines("Versions", "Agents and hubs, by version.", "none", 8, hubs(`count by (version) (renat_build_info{$s})`, "{{version}}"))),
		}},
	},
}
