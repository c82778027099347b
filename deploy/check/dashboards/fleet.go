// SPDX-License-Identifier: Apache-2.0

package main

// natMaps matches the maps that break connections when they evict.
const natMaps = `map=~"cilium_(per_cluster_)?snat_.+"`

// nodes and hubs are what the choices on top select.
func nodes(expr, legend string) query {
	return query{in(`cluster=~"$cluster",node=~"$nodes"`, expr), legend}
}
func hubs(expr, legend string) query { return query{in(`cluster=~"$cluster"`, expr), legend} }

var (
	onAgents = []variable{
		{name: "cluster", label: "Cluster", query: "label_values(renat_part_ready, cluster)"},
		{name: "nodes", label: "Nodes", query: `label_values(renat_part_ready{cluster=~"$cluster"}, node)`},
	}
	fullness = `max by (cluster, node) (renat_map_entries{$s,` + natMaps + `} / renat_map_evicts_from_entries)`
	notReady = `(min by (cluster, node) (renat_part_ready{$s}) == 0)`
)

var fleet = dashboard{
	name: "fleet", title: "renat / fleet", about: "Which connections Cilium's NAT map broke, on which nodes, and whether renat sees and tells it.",
	refresh: "1m", from: "now-6h", variables: onAgents,
	rows: []row{
		{"Now", []panel{
			bad(1, stat("Connections broken", "In the time that is shown.", "short", 4, nodes(`round(sum(increase(renat_incidents_total{$s}[$__range])))`, ""))),
			bad(1, stat("Nodes breaking", "Nodes on which a connection broke in the last ten minutes.", "none", 4,
				nodes(`count(sum by (cluster, node) (increase(renat_incidents_total{$s}[10m])) > 0) or vector(0)`, ""))),
			bad(1, stat("Nodes evicting", "Nodes whose NAT maps evicted entries in the last ten minutes.", "none", 4,
				nodes(`count(sum by (cluster, node) (increase(renat_map_evictions_total{$s,`+natMaps+`}[10m])) > 0) or vector(0)`, ""))),
			near(.9, 1, stat("Fullest NAT map", "Entries, of the number from which on the kernel evicts. Needs Linux 6.8.", "percentunit", 4, nodes(`max(`+fullness+`)`, ""))),
			bad(1, stat("Agents not ready", "Agents of which a part waits for something.", "none", 4, nodes(`count`+notReady+` or vector(0)`, ""))),
			stat("Agents", "Nodes with an agent that answers.", "none", 4, nodes(`count(count by (cluster, node) (renat_part_ready{$s}))`, "")),
		}},
		{"Connections broken", []panel{
			bars(lines("By kind", "renat: the pod's packet got another source port. orphaned_reply: the server's packet was reset by the node.", "suffix:/min", 8,
				nodes(`60 * sum by (kind) (rate(renat_incidents_total{$s}[$__rate_interval]))`, "{{kind}}"))),
			bars(lines("By cause", "What removed the connection's entry from the map.", "suffix:/min", 8,
				nodes(`60 * sum by (cause) (rate(renat_incidents_total{$s}[$__rate_interval]))`, "{{cause}}"))),
			bars(lines("By outcome", "reset: the RST was seen. unconfirmed: none was, within --settle.", "suffix:/min", 8,
				nodes(`60 * sum by (outcome) (rate(renat_incidents_total{$s}[$__rate_interval]))`, "{{outcome}}"))),
		}},
		{"Nodes", []panel{{
			kind: "table", title: "Nodes", about: "Over the time that is shown; the worst first. A node's name leads to its dashboard.", unit: "short", width: 24,
			queries: []query{
				nodes(`round(sum by (cluster, node) (increase(renat_incidents_total{$s}[$__range])))`, ""),
				nodes(`sum by (cluster, node) (rate(renat_map_evictions_total{$s,`+natMaps+`}[$__range]))`, ""),
				nodes(`sum by (cluster, node) (rate(renat_map_forced_evictions_total{$s,`+natMaps+`}[$__range])) / (sum by (cluster, node) (rate(renat_map_evictions_total{$s,`+natMaps+`}[$__range])) > 0)`, ""),
				nodes(fullness, ""),
				nodes(`round(sum by (cluster, node) (increase(renat_losses_total{$s}[$__range])))`, ""),
				nodes(`sum by (cluster, node) (1 - renat_part_ready{$s})`, ""),
			},
			columns: []column{
				{"broken", "short", 1},
				{"evictions/s", "short", .001},
				{"of these forced", "percentunit", .02},
				{"full", "percentunit", .9},
				{"lost", "short", 1},
				{"parts not ready", "none", 1},
			},
		}}},
		{"NAT maps", []panel{
			lines("Evictions", "The ten nodes with most. In a map that is large enough there are none.", "suffix:/s", 8,
				nodes(`topk(10, sum by (cluster, node) (rate(renat_map_evictions_total{$s,`+natMaps+`}[$__rate_interval])))`, "{{node}}")),
			near(.9, 1, lines("Fullness", "Entries, of the number from which on the kernel evicts: the ten fullest. Needs Linux 6.8.", "percentunit", 8,
				nodes(`topk(10, `+fullness+`)`, "{{node}}"))),
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
			above(1, stat("Active hubs", "One of them delivers; none: nobody is notified.", "none", 4, hubs(`sum(renat_hub_active{$s})`, ""))),
			named(map[float64]string{0: "in use", 1: "failing", 2: "gone"},
				near(1, 2, stat("Destinations", "failing: left alone for now. gone: it said so, and nothing is sent any more.", "none", 12, hubs(`max by (receiver) (renat_hub_circuit_open{$s})`, "{{receiver}}")))),
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
