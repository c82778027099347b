// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//go:build ignore

#include "../kernel.h"

#include <bpf/bpf_helpers.h>

#include "packet.h"
#include "report.h"
#include "ipv4.h"
#include "ipv6.h"

#define FLAG_IN 1
#define SCARCE_FIRST 61000
#define SCARCE_PORTS 64

/* Since 1.18 a reply that finds IN rebuilds OUT; since 1.17 egress that finds OUT rebuilds IN. */
const volatile bool restore_out = false;
const volatile bool restore_in = false;
/* Connections to servers with this port, in network order, have but SCARCE_PORTS source ports; 0: there are none. */
const volatile __be16 scarce_server = 0;
/* Of servers with this port, in network order, the host's firewall drops resets, and what has no IN entry; 0: there are none. */
const volatile __be16 filtered_server = 0;
/* Nobody but who is tracked may send to pods. */
const volatile bool policed = false;
/* Before 1.16 a port was looked up before it was taken. */
const volatile bool probe_by_lookup = false;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 512);
	__type(key, struct tuple4);
	__type(value, struct nat4);
} cilium_snat_v4_external SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 512);
	__type(key, struct tuple6);
	__type(value, struct nat6);
} cilium_snat_v6_external SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tuple4);
	__type(value, struct ct_entry);
} cilium_ct4_global SEC(".maps"), cilium_ct_any4_global SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tuple6);
	__type(value, struct ct_entry);
} cilium_ct6_global SEC(".maps"), cilium_ct_any6_global SEC(".maps");

#define CALL_SNAT_FWD4 0
#define CALL_SNAT_FWD6 1
#define CALL_INGRESS4 2
#define CALL_INGRESS6 3

int tail_handle_snat_fwd_ipv4(struct __sk_buff *skb);
int tail_handle_snat_fwd_ipv6(struct __sk_buff *skb);
int tail_nodeport_nat_ingress_ipv4(struct __sk_buff *skb);
int tail_nodeport_nat_ingress_ipv6(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct __sk_buff *));
} calls SEC(".maps") = {
	.values = {
		[CALL_SNAT_FWD4] = tail_handle_snat_fwd_ipv4,
		[CALL_SNAT_FWD6] = tail_handle_snat_fwd_ipv6,
		[CALL_INGRESS4] = tail_nodeport_nat_ingress_ipv4,
		[CALL_INGRESS6] = tail_nodeport_nat_ingress_ipv6,
	},
};

#define V 4
#define NAT_MAP cilium_snat_v4_external
#define CT_TCP_MAP cilium_ct4_global
#define CT_ANY_MAP cilium_ct_any4_global
#include "snat.h"
#undef V
#undef NAT_MAP
#undef CT_TCP_MAP
#undef CT_ANY_MAP

#define V 6
#define NAT_MAP cilium_snat_v6_external
#define CT_TCP_MAP cilium_ct6_global
#define CT_ANY_MAP cilium_ct_any6_global
#include "snat.h"

SEC("tc")
int to_netdev(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return egress4(skb);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return egress6(skb);
	return TC_ACT_OK;
}

SEC("tc")
int from_netdev(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return ingress4(skb);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return ingress6(skb);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
