// SPDX-License-Identifier: Apache-2.0

package check

// alertCases has for each alert what it is for, and what must not set it off:
// new nodes, restarts, gaps, and what is just below its threshold.
var alertCases = []alertCase{
	{"RenatEvictionsBreakConnections", "one connection",
		`renat_incidents_total{node="a",cause="lru_eviction",kind="renat"} 0x20 1x99`, []string{"node=a: 21m-34m"}},
	{"RenatEvictionsBreakConnections", "one whose server spoke first",
		`renat_incidents_total{node="a",cause="lru_eviction",kind="orphaned_reply"} 0x20 1x99`, []string{"node=a: 21m-34m"}},
	{"RenatEvictionsBreakConnections", "every third scrape fails",
		`renat_incidents_total{node="a",cause="lru_eviction",kind="renat"} 0 0 stale 0 0 stale 0 0 stale 1 1 stale 1 1 stale 1 1 stale 1 1 stale 1 1 stale`, []string{"node=a: 9m-21m"}},
	{"RenatEvictionsBreakConnections", "another cause",
		`renat_incidents_total{node="a",cause="userspace_delete"} 0+3x120
		 renat_incidents_total{node="a",cause="lru_eviction",kind="renat"} 0x120`, nil},
	{"RenatEvictionsBreakConnections", "the agent restarts",
		`renat_incidents_total{node="a",pod="p",cause="lru_eviction",kind="renat"} 5x30 0x89`, nil},
	{"RenatEvictionsBreakConnections", "another pod takes over",
		`renat_incidents_total{node="a",pod="p",cause="lru_eviction",kind="renat"} 5x30 stale
		 renat_incidents_total{node="a",pod="q",cause="lru_eviction",kind="renat"} _x31 0x88`, nil},
	{"RenatEvictionsBreakConnections", "scraping begins, and has a gap",
		`renat_incidents_total{node="a",cause="lru_eviction",kind="orphaned_reply"} _x10 7x20 stale _x20 7x60`, nil},
	{"RenatEvictionsBreakConnections", "of a kind that no NAT map's size ends",
		`renat_incidents_total{node="a",cause="lru_eviction",kind="tracking_lost"} 0+3x120
		 renat_incidents_total{node="a",cause="lru_eviction",kind="egress_changed"} 0+3x120`, nil},

	{"RenatConnectionsFailOtherwise", "one of each kind, after another",
		`renat_incidents_total{node="a",kind="tracking_lost",cause="lru_eviction"} 0x20 1x99
		 renat_incidents_total{node="a",kind="no_port",cause="ports_exhausted"} 0x30 1x89
		 renat_incidents_total{node="a",kind="egress_changed",cause="datapath_delete"} 0x40 1x79
		 renat_incidents_total{node="a",kind="map_replaced",cause="map_replaced"} 0x50 1x69`,
		[]string{"kind=egress_changed node=a: 41m-54m", "kind=map_replaced node=a: 51m-64m", "kind=no_port node=a: 31m-44m", "kind=tracking_lost node=a: 21m-34m"}},
	{"RenatConnectionsFailOtherwise", "a NAT entry went",
		`renat_incidents_total{node="a",kind="renat",cause="lru_eviction"} 0+3x120
		 renat_incidents_total{node="a",kind="orphaned_reply",cause="map_replaced"} 0+3x120`, nil},
	{"RenatConnectionsFailOtherwise", "the agent restarts",
		`renat_incidents_total{node="a",pod="p",kind="no_port"} 5x30 0x89`, nil},

	{"RenatNodeBreaking", "6 a minute", `renat_incidents_total{node="a"} 0+6x120`, []string{"node=a: 15m-120m"}},
	{"RenatNodeBreaking", "6 a minute, of two kinds, in two pods after another",
		`renat_incidents_total{node="a",pod="p",kind="renat"} 0+3x30 stale
		 renat_incidents_total{node="a",pod="p",kind="orphaned_reply"} 0+3x30 stale
		 renat_incidents_total{node="a",pod="q",kind="renat"} _x31 0+6x80`, []string{"node=a: 15m-33m", "node=a: 46m-112m"}},
	{"RenatNodeBreaking", "5 a minute", `renat_incidents_total{node="a"} 0+5x120`, nil},
	{"RenatNodeBreaking", "a burst", `renat_incidents_total{node="a"} 0x20 100 200 300x98`, nil},
	{"RenatNodeBreaking", "6 a minute on two nodes together",
		`renat_incidents_total{node="a"} 0+3x120
		 renat_incidents_total{node="b"} 0+3x120`, nil},
	{"RenatNodeBreaking", "the agent restarts again and again", `renat_incidents_total{node="a"} 40 0 40 0 40 0x115`, nil},

	{"RenatNATMapEvicts", "all the time",
		`renat_map_evictions_total{node="a",map="cilium_snat_v4_external"} 0x10 0+128x110`, []string{"map=cilium_snat_v4_external node=a: 42m-120m"}},
	{"RenatNATMapEvicts", "a batch now and then",
		`renat_map_evictions_total{node="a",map="cilium_per_cluster_snat_v6_external_3"} 0x9 128x9 256x9 384x9 512x9 640x70`,
		[]string{"map=cilium_per_cluster_snat_v6_external_3 node=a: 40m-63m"}},
	{"RenatNATMapEvicts", "one entry now and then",
		`renat_map_evictions_total{node="a",map="cilium_snat_v4_external"} 0x9 1x9 2x9 3x9 4x9 5x70`, []string{"map=cilium_snat_v4_external node=a: 40m-63m"}},
	{"RenatNATMapEvicts", "for ten minutes", `renat_map_evictions_total{node="a",map="cilium_snat_v4_external"} 0x10 0+128x10 1280x99`, nil},
	{"RenatNATMapEvicts", "another map", `renat_map_evictions_total{node="a",map="cilium_ct4_global"} 0+128x120`, nil},
	{"RenatNATMapEvicts", "it did, and the agent restarts", `renat_map_evictions_total{node="a",map="cilium_snat_v4_external"} 5000x40 0x79`, nil},

	{"RenatNATMapNearlyFull", "91 %",
		`renat_map_entries{node="a",map="cilium_snat_v4_external"} 910x120
		 renat_map_evicts_from_entries{node="a",map="cilium_snat_v4_external"} 1000x120
		 renat_map_evictions_total{node="a",map="cilium_snat_v4_external"} 77x120`, []string{"map=cilium_snat_v4_external node=a: 10m-120m"}},
	{"RenatNATMapNearlyFull", "90 %",
		`renat_map_entries{node="a",map="cilium_snat_v4_external"} 900x120
		 renat_map_evicts_from_entries{node="a",map="cilium_snat_v4_external"} 1000x120`, nil},
	{"RenatNATMapNearlyFull", "91 % for ten minutes",
		`renat_map_entries{node="a",map="cilium_snat_v4_external"} 100x10 910x10 100x98
		 renat_map_evicts_from_entries{node="a",map="cilium_snat_v4_external"} 1000x120`, nil},
	{"RenatNATMapNearlyFull", "it evicts, which is another alert",
		`renat_map_entries{node="a",map="cilium_snat_v4_external"} 1000x120
		 renat_map_evicts_from_entries{node="a",map="cilium_snat_v4_external"} 1000x120
		 renat_map_evictions_total{node="a",map="cilium_snat_v4_external"} 0+10x120`, nil},
	{"RenatNATMapNearlyFull", "it evicted, one entry now and then, until it was emptied a little",
		`renat_map_entries{node="a",map="cilium_snat_v4_external"} 1000x20 950x99
		 renat_map_evicts_from_entries{node="a",map="cilium_snat_v4_external"} 1000x120
		 renat_map_evictions_total{node="a",map="cilium_snat_v4_external"} 0 1x9 2x9 3x99`, []string{"map=cilium_snat_v4_external node=a: 45m-120m"}},
	{"RenatNATMapNearlyFull", "the kernel does not count entries",
		`renat_map_evicts_from_entries{node="a",map="cilium_snat_v4_external"} 1000x120`, nil},
	{"RenatNATMapNearlyFull", "another map",
		`renat_map_entries{node="a",map="cilium_ct4_global"} 1000x120
		 renat_map_evicts_from_entries{node="a",map="cilium_ct4_global"} 1000x120`, nil},

	{"RenatAgentDown", "it does not answer",
		`up{job="renat/renat-agent",node="a",namespace="renat",pod="p"} 1x9 0x110`, []string{"namespace=renat node=a pod=p: 24m-120m"}},
	{"RenatAgentDown", "half of the scrapes fail", `up{job="renat/renat-agent",node="a",namespace="renat",pod="p"} 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0`, nil},
	{"RenatAgentDown", "a new pod needs ten minutes",
		`up{job="renat/renat-agent",node="a",namespace="renat",pod="p"} _x20 0x9 1x80`, nil},
	{"RenatAgentDown", "the node is removed",
		`up{job="renat/renat-agent",node="a",namespace="renat",pod="p"} 1x20 0 0 0 0 0 stale`, nil},
	{"RenatAgentDown", "something else is down", `up{job="other",node="a"} 0x120`, nil},

	{"RenatAgentsMissing", "all, from the start", `up{job="other"} 1x120`, []string{": 15m-120m"}},
	{"RenatAgentsMissing", "one of three",
		`up{job="renat/renat-agent",namespace="renat",node="a"} 1x120
		 up{job="renat/renat-agent",namespace="renat",node="b"} 1x120
		 kube_daemonset_status_desired_number_scheduled{namespace="renat",daemonset="renat-agent"} 3x120`, []string{"namespace=renat: 15m-120m"}},
	{"RenatAgentsMissing", "none is, but one is down",
		`up{job="renat/renat-agent",namespace="renat",node="a"} 1x120
		 up{job="renat/renat-agent",namespace="renat",node="b"} 0x120
		 kube_daemonset_status_desired_number_scheduled{namespace="renat",daemonset="renat-agent"} 2x120`, nil},
	{"RenatAgentsMissing", "a long rollout takes one at a time",
		`up{job="renat/renat-agent",namespace="renat",node="a"} 1x120
		 kube_daemonset_status_desired_number_scheduled{namespace="renat",daemonset="my-renat-agent"} 2x120
		 kube_daemonset_status_updated_number_scheduled{namespace="renat",daemonset="my-renat-agent"} 0+1x120`, nil},
	{"RenatAgentsMissing", "a rollout takes nine minutes for each",
		`up{job="renat-agent",namespace="renat",node="a"} 1x120
		 kube_daemonset_status_desired_number_scheduled{namespace="renat",daemonset="renat-agent"} 2x120
		 kube_daemonset_status_updated_number_scheduled{namespace="renat",daemonset="renat-agent"} 2x8 3x8 4x8 5x8 6x8 7x8 8x8 9x8 10x8 11x8 12x8 13x8 14x8 15x8`, nil},
	{"RenatAgentsMissing", "nodes come all the time",
		`up{job="renat/renat-agent",namespace="renat",node="a"} 1x120
		 kube_daemonset_status_desired_number_scheduled{namespace="renat",daemonset="renat-agent"} 2x8 3x8 4x8 5x8 6x8 7x8 8x8 9x8 10x8 11x8 12x8 13x8 14x8 15x8`, nil},
	{"RenatAgentsMissing", "without kube-state-metrics", `up{job="renat/renat-agent",namespace="renat",node="a"} 1x120`, nil},
	{"RenatAgentsMissing", "scrapes fail", `up{job="renat/renat-agent",namespace="renat",node="a"} 0x120`, nil},

	{"RenatAgentBlind", "no flows",
		`renat_part_ready{node="a",part="hubble"} 1x9 0x110
		 renat_part_ready{node="a",part="kernel"} 1x120`, []string{"node=a part=hubble: 24m-120m"}},
	{"RenatAgentBlind", "nothing from the kernel, and every third scrape fails",
		`renat_part_ready{node="a",part="kernel"} 0 0 stale 0 0 stale 0 0 stale 0 0 stale 0 0 stale 0 0 stale`, []string{"node=a part=kernel: 10m-20m"}},
	{"RenatAgentBlind", "it is behind all the time", `renat_part_ready{node="a",part="tracking"} 1x9 0x110`, []string{"node=a part=tracking: 24m-120m"}},
	{"RenatAgentBlind", "Cilium restarts on time", `renat_part_ready{node="a",part="hubble"} 1x9 0x9 1x9 0x9 1x80`, nil},
	{"RenatAgentBlind", "a new node waits for Cilium", `renat_part_ready{node="a",part="kernel"} _x30 0x8 1x80`, nil},
	{"RenatAgentBlind", "another part", `renat_part_ready{node="a",part="nats"} 0x120`, nil},
	{"RenatAgentBlind", "the node is removed", `renat_part_ready{node="a",part="kernel"} 1x9 0x3 stale`, nil},

	{"RenatFlowsLost", "more are lost than come",
		`renat_losses_total{node="a",place="hubble_ring"} 0+300x120
		 renat_losses_total{node="a",place="hubble_perf_ring"} 0+301x120
		 renat_events_total{node="a",source="hubble"} 0+600x120`, []string{"node=a: 31m-120m"}},
	{"RenatFlowsLost", "hardly any come, for a time",
		`renat_losses_total{node="a",place="hubble_ring"} 0+66x60 3960x60
		 renat_events_total{node="a",source="hubble"} 0+10x120`, []string{"node=a: 40m-60m"}},
	{"RenatFlowsLost", "as many are",
		`renat_losses_total{node="a",place="hubble_ring"} 0+600x120
		 renat_events_total{node="a",source="hubble"} 0+600x120`, nil},
	{"RenatFlowsLost", "a quiet node loses some", `renat_losses_total{node="a",place="hubble_ring"} 0+50x120
		 renat_events_total{node="a",source="hubble"} 0+10x120`, nil},
	{"RenatFlowsLost", "a burst of 15 minutes",
		`renat_losses_total{node="a",place="hubble_ring"} 0x20 0+6000x15 90000x90
		 renat_events_total{node="a",source="hubble"} 0+600x120`, nil},
	{"RenatFlowsLost", "the kernel's are lost",
		`renat_losses_total{node="a",place="kernel_ring"} 0+6000x120
		 renat_events_total{node="a",source="hubble"} 0+600x120`, nil},

	{"RenatKernelEventsLost", "1.2 %",
		`renat_losses_total{node="a",place="kernel_ring"} 0+6x120
		 renat_losses_total{node="a",place="kernel_missed"} 0+6x120
		 renat_events_total{node="a",source="kernel"} 0+988x120`, []string{"node=a: 16m-120m"}},
	{"RenatKernelEventsLost", "0.9 %",
		`renat_losses_total{node="a",place="kernel_ring"} 0+9x120
		 renat_events_total{node="a",source="kernel"} 0+991x120`, nil},
	{"RenatKernelEventsLost", "nothing happens at all",
		`renat_losses_total{node="a",place="kernel_ring"} 5x120
		 renat_events_total{node="a",source="kernel"} 77x120`, nil},
	{"RenatKernelEventsLost", "one burst",
		`renat_losses_total{node="a",place="kernel_ring"} 0x20 9000x99
		 renat_events_total{node="a",source="kernel"} 0+100x120`, nil},

	{"RenatAgentCannotPublish", "NATS is away",
		`renat_part_ready{node="a",part="nats"} 1x9 0x110`, []string{"node=a part=nats: 24m-120m"}},
	{"RenatAgentCannotPublish", "the disk is full",
		`renat_part_ready{node="a",part="outbox"} 1x9 0x30 1x79`, []string{"node=a part=outbox: 24m-40m"}},
	{"RenatAgentCannotPublish", "NATS comes and goes", `renat_part_ready{node="a",part="nats"} 1x9 0x9 1x1 0x9 1x1 0x9 1x80`, nil},
	{"RenatAgentCannotPublish", "another part", `renat_part_ready{node="a",part="hubble"} 0x120`, nil},

	{"RenatOutboxFilling", "1,001 wait", `renat_outbox_waiting_incidents{node="a"} 0x9 1001x110`, []string{"node=a: 24m-120m"}},
	{"RenatOutboxFilling", "1,000 wait", `renat_outbox_waiting_incidents{node="a"} 1000x120`, nil},
	{"RenatOutboxFilling", "a storm that goes out in ten minutes", `renat_outbox_waiting_incidents{node="a"} 0x9 20000-2000x10 0x99`, nil},
	{"RenatOutboxFilling", "a pod that ends leaves the next one few", `renat_outbox_waiting_incidents{node="a",pod="p"} 5000x3 stale
		 renat_outbox_waiting_incidents{node="a",pod="q"} _x4 10x100`, nil},

	{"RenatIncidentsLost", "one",
		`renat_losses_total{node="a",place="outbox_full"} 0x20 1x99`, []string{"node=a place=outbox_full: 21m-34m"}},
	{"RenatIncidentsLost", "the agent restarts", `renat_losses_total{node="a",place="outbox_full"} 9x20 0x99`, nil},
	{"RenatIncidentsLost", "flows, not incidents", `renat_losses_total{node="a",place="hubble_ring"} 0+100x120`, nil},

	{"RenatHubDown", "none is active",
		`renat_hub_active{namespace="renat",pod="p"} 1x9 0x110
		 renat_hub_active{namespace="renat",pod="q"} 0x120`, []string{"namespace=renat: 19m-120m"}},
	{"RenatHubDown", "none answers",
		`up{job="renat-hub",namespace="renat",pod="p"} 1x9 0x110
		 up{job="renat-hub",namespace="renat",pod="q"} 1x19 0x100
		 renat_hub_active{namespace="renat",pod="p"} 1x9 stale
		 renat_hub_active{namespace="renat",pod="q"} 0x9 1x9 stale`, []string{"namespace=renat: 29m-120m"}},
	{"RenatHubDown", "one takes over",
		`renat_hub_active{namespace="renat",pod="p"} 1x9 0x110
		 renat_hub_active{namespace="renat",pod="q"} 0x11 1x108`, nil},
	{"RenatHubDown", "a rollout replaces both",
		`renat_hub_active{namespace="renat",pod="p"} 1x9 stale
		 renat_hub_active{namespace="renat",pod="q"} 0x10 stale
		 renat_hub_active{namespace="renat",pod="r"} _x12 0 1x100
		 up{job="renat-hub",namespace="renat",pod="p"} 1x9 stale
		 up{job="renat-hub",namespace="renat",pod="r"} _x12 1x101`, nil},
	{"RenatHubDown", "there are pages only", `up{job="renat-hub",namespace="renat",pod="p"} 1x120`, nil},
	{"RenatHubDown", "there is no hub", `up{job="renat/renat-agent",namespace="renat",pod="p"} 1x120`, nil},

	{"RenatHubCannotDeliver", "the destination fails",
		`renat_hub_circuit_open{namespace="renat",pod="p",receiver="ops"} 0x9 1x110
		 renat_hub_queued_notifications{namespace="renat",pod="p",receiver="ops"} 0x5 1 0 1 0 1 0x2 1x16 0x80`, []string{"namespace=renat receiver=ops: 19m-34m"}},
	{"RenatHubCannotDeliver", "the destination is gone",
		`renat_hub_circuit_open{namespace="renat",pod="p",receiver="ops"} 0x9 1 2x109
		 renat_hub_queued_notifications{namespace="renat",pod="p",receiver="ops"} 0x120`, []string{"namespace=renat receiver=ops: 20m-120m"}},
	{"RenatHubCannotDeliver", "nothing is to be sent since",
		`renat_hub_circuit_open{namespace="renat",pod="p",receiver="ops"} 0x9 1x110
		 renat_hub_queued_notifications{namespace="renat",pod="p",receiver="ops"} 0x120`, nil},
	{"RenatHubCannotDeliver", "it works again soon",
		`renat_hub_circuit_open{namespace="renat",pod="p",receiver="ops"} 0x9 1x8 0x100
		 renat_hub_queued_notifications{namespace="renat",pod="p",receiver="ops"} 0x9 5x8 0x100`, nil},
	{"RenatHubCannotDeliver", "the queue is only long",
		`renat_hub_circuit_open{namespace="renat",pod="p",receiver="ops"} 0x120
		 renat_hub_queued_notifications{namespace="renat",pod="p",receiver="ops"} 50x120`, nil},

	{"RenatNotificationsGivenUp", "one",
		`renat_hub_notifications_total{namespace="renat",receiver="ops",result="dead"} 0x20 1x99`, []string{"namespace=renat receiver=ops: 21m-49m"}},
	{"RenatNotificationsGivenUp", "before the hub is scraped",
		`renat_hub_notifications_total{namespace="renat",pod="p",receiver="ops",result="dead"} _x20 1x99
		 process_start_time_seconds{namespace="renat",pod="p"} _x20 1199x99`, []string{"namespace=renat receiver=ops: 20m-49m"}},
	{"RenatNotificationsGivenUp", "scraping begins long after the hub",
		`renat_hub_notifications_total{namespace="renat",pod="p",receiver="ops",result="dead"} _x20 1x99
		 process_start_time_seconds{namespace="renat",pod="p"} _x20 -900x99`, nil},
	{"RenatNotificationsGivenUp", "retried, not given up",
		`renat_hub_notifications_total{namespace="renat",receiver="ops",result="retried"} 0+5x120
		 renat_hub_notifications_total{namespace="renat",receiver="ops",result="dead"} 0x120`, nil},
	{"RenatNotificationsGivenUp", "another hub takes over",
		`renat_hub_notifications_total{namespace="renat",pod="p",receiver="ops",result="dead"} 4x20 stale
		 renat_hub_notifications_total{namespace="renat",pod="q",receiver="ops",result="dead"} _x20 0x99`, nil},

	{"RenatStreamDropsIncidents", "the stream drops one",
		`renat_hub_incidents_total{namespace="renat",receiver="ops",fate="dropped"} 0x20 1x99`, []string{"namespace=renat receiver=ops: 21m-49m"}},
	{"RenatStreamDropsIncidents", "a hub that stood by takes over, and finds some dropped",
		`renat_hub_incidents_total{namespace="renat",pod="p",receiver="ops",fate="dropped"} 7x19 stale
		 renat_hub_incidents_total{namespace="renat",pod="q",receiver="ops",fate="dropped"} 0x20 40x99`, []string{"namespace=renat receiver=ops: 21m-49m"}},
	{"RenatStreamDropsIncidents", "a hub that starts finds some dropped, before it is scraped",
		`renat_hub_incidents_total{namespace="renat",pod="q",receiver="ops",fate="dropped"} _x20 1x99
		 process_start_time_seconds{namespace="renat",pod="q"} _x20 1199x99`, []string{"namespace=renat receiver=ops: 20m-49m"}},
	{"RenatStreamDropsIncidents", "scraping begins long after the hub",
		`renat_hub_incidents_total{namespace="renat",pod="q",receiver="ops",fate="dropped"} _x20 1x99
		 process_start_time_seconds{namespace="renat",pod="q"} _x20 -900x99`, nil},
	{"RenatStreamDropsIncidents", "scraping has a gap",
		`renat_hub_incidents_total{namespace="renat",pod="q",receiver="ops",fate="dropped"} 0x9 7 _x60 7x60
		 process_start_time_seconds{namespace="renat",pod="q"} 1x10 _x60 1x60`, []string{"namespace=renat receiver=ops: 10m-38m"}},
	{"RenatStreamDropsIncidents", "another hub takes over, in time",
		`renat_hub_incidents_total{namespace="renat",pod="p",receiver="ops",fate="dropped"} 7x19 stale
		 renat_hub_incidents_total{namespace="renat",pod="q",receiver="ops",fate="dropped"} 0x120`, nil},
	{"RenatStreamDropsIncidents", "incidents are told of",
		`renat_hub_incidents_total{namespace="renat",receiver="ops",fate="held"} 0+5x120
		 renat_hub_incidents_total{namespace="renat",receiver="ops",fate="dropped"} 0x120`, nil},

	{"RenatHubConfigRejected", "it is wrong",
		`renat_hub_config_last_reload_successful{namespace="renat",pod="p"} 1x9 0x110`, []string{"namespace=renat pod=p: 19m-120m"}},
	{"RenatHubConfigRejected", "it is mended soon", `renat_hub_config_last_reload_successful{namespace="renat",pod="p"} 1x9 0x5 1x104`, nil},
	{"RenatHubConfigRejected", "the pod goes", `renat_hub_config_last_reload_successful{namespace="renat",pod="p"} 1x9 0x3 stale`, nil},
}
