/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The translation of one address family, included once per family: V is 4 or
 * 6, NAT_MAP, CT_TCP_MAP and CT_ANY_MAP the maps. It goes wrong where Cilium's goes wrong.
 */
#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)
#define F(name) PASTE(name, V)
#define TUPLE struct F(tuple)
#define NAT struct F(nat)
#define ADDR F(addr)

/* Ports tried besides the connection's own before giving up (drop reason 167). */
#ifndef PORT_TRIES
#define PORT_TRIES 32
#endif

/* The key of the reply's packets. */
static __always_inline void F(reply)(TUPLE *in, const TUPLE *out, ADDR addr, __be16 port)
{
	in->daddr = addr;
	in->saddr = out->daddr;
	in->dport = port;
	in->sport = out->dport;
	in->nexthdr = out->nexthdr;
	in->flags = FLAG_IN;
}

/*
 * Takes a port by inserting the IN entry: the connection's own first, then
 * random ones. An IN entry that outlived its OUT entry makes a connection
 * collide with itself here.
 */
static __always_inline bool F(take_port)(const TUPLE *out, NAT *to)
{
	NAT back = {.created = bpf_ktime_get_ns(), .addr = out->saddr, .port = out->sport};
	TUPLE in = {};

	for (int i = 0; i < PORT_TRIES; i++) {
		to->port = i ? bpf_htons(1024 + bpf_get_prandom_u32() % (65536 - 1024)) : out->sport;
		F(reply)(&in, out, to->addr, to->port);
		if (probe_by_lookup && bpf_map_lookup_elem(&NAT_MAP, &in))
			continue;
		if (!bpf_map_update_elem(&NAT_MAP, &in, &back, BPF_NOEXIST))
			return true;
	}
	return false;
}

/* Makes a new mapping; undoes the half of it if the other fails. */
static __always_inline bool F(new_mapping)(const TUPLE *out, NAT *to)
{
	TUPLE in = {};

	to->addr = F(snat_addr)();
	to->created = bpf_ktime_get_ns();
	if (!F(take_port)(out, to))
		return false;
	if (!bpf_map_update_elem(&NAT_MAP, out, to, BPF_NOEXIST))
		return true;
	F(reply)(&in, out, to->addr, to->port);
	bpf_map_delete_elem(&NAT_MAP, &in);
	return false;
}

/* Rebuilds the IN entry of a mapping if it is gone. */
static __always_inline void F(rebuild_in)(const TUPLE *out, const NAT *to)
{
	NAT back = {.created = bpf_ktime_get_ns(), .addr = out->saddr, .port = out->sport};
	TUPLE in = {};

	F(reply)(&in, out, to->addr, to->port);
	if (!bpf_map_lookup_elem(&NAT_MAP, &in))
		bpf_map_update_elem(&NAT_MAP, &in, &back, BPF_NOEXIST);
}

/* Rebuilds the OUT entry of a mapping whose IN entry a reply found. */
static __always_inline void F(rebuild_out)(const TUPLE *in, const NAT *back)
{
	NAT to = {.created = bpf_ktime_get_ns(), .addr = in->daddr, .port = in->dport};
	TUPLE out = {
		.daddr = in->saddr, .saddr = back->addr, .dport = in->sport, .sport = back->port, .nexthdr = in->nexthdr,
	};

	if (!bpf_map_lookup_elem(&NAT_MAP, &out))
		bpf_map_update_elem(&NAT_MAP, &out, &to, BPF_NOEXIST);
}

SEC("tc")
int PASTE(tail_handle_snat_fwd_ipv, V)(struct __sk_buff *skb)
{
	TUPLE out = {};
	NAT to = {}, *found;
	struct l4 l4;

	if (!F(parse)(skb, &out, &l4))
		return TC_ACT_OK;
	found = bpf_map_lookup_elem(&NAT_MAP, &out);
	if (found) {
		to = *found;
		if (restore_in)
			F(rebuild_in)(&out, &to);
	} else if (!F(new_mapping)(&out, &to)) {
		return TC_ACT_SHOT;
	}
	if (F(set_addr)(skb, &l4, false, out.saddr, to.addr) || set_port(skb, &l4, PORT_SOURCE, out.sport, to.port))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

SEC("tc")
int PASTE(tail_nodeport_nat_ingress_ipv, V)(struct __sk_buff *skb)
{
	TUPLE in = {};
	NAT back, *found;
	struct l4 l4;

	if (!F(parse)(skb, &in, &l4))
		return TC_ACT_OK;
	in.flags = FLAG_IN;
	found = bpf_map_lookup_elem(&NAT_MAP, &in);
	if (!found)
		return TC_ACT_OK; /* the host's own stack gets it, and resets it */
	back = *found;
	if (restore_out)
		F(rebuild_out)(&in, &back);
	if (F(set_addr)(skb, &l4, true, in.daddr, back.addr) || set_port(skb, &l4, PORT_DEST, in.dport, back.port))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

/* Tracks a connection. In CT keys the addresses are exchanged. */
static __always_inline void F(track)(const TUPLE *packet)
{
	TUPLE key = *packet;
	struct ct_entry entry = {};

	key.daddr = packet->saddr;
	key.saddr = packet->daddr;
	if (key.nexthdr == PROTO_TCP) {
		if (!bpf_map_lookup_elem(&CT_TCP_MAP, &key))
			bpf_map_update_elem(&CT_TCP_MAP, &key, &entry, BPF_ANY);
	} else if (!bpf_map_lookup_elem(&CT_ANY_MAP, &key)) {
		bpf_map_update_elem(&CT_ANY_MAP, &key, &entry, BPF_ANY);
	}
}

/* A packet leaves: its connection is tracked, then translated if it is a pod's or the node's. */
static __always_inline int F(egress)(struct __sk_buff *skb)
{
	TUPLE t = {};
	struct l4 l4;

	if (!F(parse)(skb, &t, &l4))
		return TC_ACT_OK;
	if (!F(is_pod)(t.saddr) && !F(is_snat)(t.saddr))
		return TC_ACT_OK;
	if (F(is_pod)(t.saddr))
		F(track)(&t);
	bpf_tail_call(skb, &calls, PASTE(CALL_SNAT_FWD, V));
	return TC_ACT_SHOT;
}

static __always_inline int F(ingress)(struct __sk_buff *skb)
{
	TUPLE t = {};
	struct l4 l4;

	if (!F(parse)(skb, &t, &l4) || !F(is_snat)(t.daddr))
		return TC_ACT_OK;
	bpf_tail_call(skb, &calls, PASTE(CALL_INGRESS, V));
	return TC_ACT_SHOT;
}

#undef TUPLE
#undef NAT
#undef ADDR
#undef F
#undef PASTE
#undef PASTE2
