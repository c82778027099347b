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

/* Begins a report of a tuple; NULL if there is nobody to tell or no room. */
static __always_inline struct report *F(report)(const TUPLE *t, __u8 what)
{
	struct report *r;

	if (!reporting)
		return 0;
	r = bpf_ringbuf_reserve(&reports, sizeof(*r), 0);
	if (!r) {
		report_lost();
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->ktime = bpf_ktime_get_ns();
	__builtin_memcpy(r->saddr, &t->saddr, sizeof(t->saddr));
	__builtin_memcpy(r->daddr, &t->daddr, sizeof(t->daddr));
	r->sport = t->sport;
	r->dport = t->dport;
	r->protocol = t->nexthdr;
	r->family = V;
	r->what = what;
	r->cpu = bpf_get_smp_processor_id();
	return r;
}

static __always_inline void F(report_packet)(const TUPLE *t, __u8 point, __u8 reason, __u8 tcp_flags)
{
	struct report *r = F(report)(t, REPORT_PACKET);

	if (!r)
		return;
	r->point = point;
	r->reason = reason;
	r->tcp_flags = tcp_flags;
	bpf_ringbuf_submit(r, 0);
}

static __always_inline void F(report_mapping)(const TUPLE *t, __u8 what, const NAT *to)
{
	struct report *r = F(report)(t, what);

	if (!r)
		return;
	__builtin_memcpy(r->to_addr, &to->addr, sizeof(to->addr));
	r->to_port = to->port;
	bpf_ringbuf_submit(r, 0);
}

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

static __always_inline __be16 F(port_to_try)(const TUPLE *out, int tried)
{
	if (scarce_server && out->dport == scarce_server)
		return bpf_htons(SCARCE_FIRST + bpf_get_prandom_u32() % SCARCE_PORTS);
	return tried ? bpf_htons(1024 + bpf_get_prandom_u32() % (65536 - 1024)) : out->sport;
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
		to->port = F(port_to_try)(out, i);
		F(reply)(&in, out, to->addr, to->port);
		if (probe_by_lookup && bpf_map_lookup_elem(&NAT_MAP, &in))
			continue;
		if (!bpf_map_update_elem(&NAT_MAP, &in, &back, BPF_NOEXIST))
			return true;
	}
	return false;
}

/* Makes a new mapping to to->addr; undoes the half of it if the other fails. */
static __always_inline bool F(new_mapping)(const TUPLE *out, NAT *to)
{
	TUPLE in = {};

	to->created = bpf_ktime_get_ns();
	if (!F(take_port)(out, to))
		return false;
	if (!bpf_map_update_elem(&NAT_MAP, out, to, BPF_NOEXIST)) {
		F(report_mapping)(out, REPORT_MAPPED, to);
		return true;
	}
	F(reply)(&in, out, to->addr, to->port);
	bpf_map_delete_elem(&NAT_MAP, &in);
	return false;
}

/* Removes a mapping whose address is no more what it shall be. */
static __always_inline void F(forget)(const TUPLE *out, const NAT *to)
{
	TUPLE in = {};

	F(reply)(&in, out, to->addr, to->port);
	bpf_map_delete_elem(&NAT_MAP, out);
	bpf_map_delete_elem(&NAT_MAP, &in);
	F(report_mapping)(out, REPORT_STALE, to);
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

	if (!bpf_map_lookup_elem(&NAT_MAP, &out) && !bpf_map_update_elem(&NAT_MAP, &out, &to, BPF_NOEXIST))
		F(report_mapping)(&out, REPORT_RESTORED, &to);
}

/* The connection tracking entry of the pod's packets, in whose keys the addresses are exchanged. */
static __always_inline void F(ct_key)(TUPLE *key, const TUPLE *out)
{
	*key = *out;
	key->daddr = out->saddr;
	key->saddr = out->daddr;
}

static __always_inline struct ct_entry *F(ct_find)(const TUPLE *key)
{
	if (key->nexthdr == PROTO_TCP)
		return bpf_map_lookup_elem(&CT_TCP_MAP, key);
	return bpf_map_lookup_elem(&CT_ANY_MAP, key);
}

/* Tracks a packet that leaves and reports it. A SYN after the end opens anew. */
static __always_inline void F(leaves)(const TUPLE *out, __u8 point, __u8 tcp_flags)
{
	__u64 now = bpf_ktime_get_ns();
	struct ct_entry *found, fresh = {};
	bool opens = (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	TUPLE key;

	F(ct_key)(&key, out);
	found = F(ct_find)(&key);
	if (found && !(opens && found->flags & CT_CLOSING)) {
		if (ct_note(found, 0, tcp_flags, now))
			F(report_packet)(out, point, REASON_ESTABLISHED, tcp_flags);
		return;
	}
	ct_note(&fresh, 0, tcp_flags, now);
	if (key.nexthdr == PROTO_TCP)
		bpf_map_update_elem(&CT_TCP_MAP, &key, &fresh, BPF_ANY);
	else
		bpf_map_update_elem(&CT_ANY_MAP, &key, &fresh, BPF_ANY);
	F(report_packet)(out, point, REASON_NEW, tcp_flags);
}

/* Reports a reply on its way to the pod, as it is after its translation back, and tells whether it may pass. */
static __always_inline bool F(arrives)(const TUPLE *in, const NAT *back, __u8 tcp_flags)
{
	TUPLE packet = *in, out = {}, key;
	struct ct_entry *found;

	packet.daddr = back->addr;
	packet.dport = back->port;
	out.saddr = packet.daddr;
	out.sport = packet.dport;
	out.daddr = packet.saddr;
	out.dport = packet.sport;
	out.nexthdr = packet.nexthdr;
	F(ct_key)(&key, &out);
	found = F(ct_find)(&key);
	if (!found && policed && in->nexthdr == PROTO_TCP) {
		F(report_packet)(&packet, POINT_DROPPED, DROP_POLICY_DENIED, tcp_flags);
		return false;
	}
	if (!found || ct_note(found, 1, tcp_flags, bpf_ktime_get_ns()))
		F(report_packet)(&packet, POINT_TO_ENDPOINT, REASON_REPLY, tcp_flags);
	return true;
}

SEC("tc")
int PASTE(tail_handle_snat_fwd_ipv, V)(struct __sk_buff *skb)
{
	TUPLE out = {};
	NAT to = {}, *found;
	bool mapped = false;
	struct l4 l4;
	ADDR wanted;

	if (!F(parse)(skb, &out, &l4))
		return TC_ACT_OK;
	wanted = F(snat_addr)(out.saddr);
	found = bpf_map_lookup_elem(&NAT_MAP, &out);
	if (found) {
		to = *found;
		mapped = F(same)(to.addr, wanted);
		if (!mapped)
			F(forget)(&out, &to);
		else if (restore_in)
			F(rebuild_in)(&out, &to);
	}
	if (!mapped) {
		to.addr = wanted;
		if (!F(new_mapping)(&out, &to)) {
			F(report_packet)(&out, POINT_DROPPED, DROP_NO_MAPPING, flags_of(skb, &l4));
			return TC_ACT_SHOT;
		}
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
	if (filtered_server && in.sport == filtered_server && (!found || flags_of(skb, &l4) & TCP_RST))
		return TC_ACT_SHOT; /* behind Cilium's program, before anything is shown of it */
	if (!found)
		return TC_ACT_OK; /* the host's own stack gets it, and resets it */
	back = *found;
	if (restore_out)
		F(rebuild_out)(&in, &back);
	if (F(is_pod)(back.addr) && !F(arrives)(&in, &back, flags_of(skb, &l4)))
		return TC_ACT_SHOT;
	if (F(set_addr)(skb, &l4, true, in.daddr, back.addr) || set_port(skb, &l4, PORT_DEST, in.dport, back.port))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
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
	F(leaves)(&t, F(is_pod)(t.saddr) ? POINT_TO_STACK : POINT_TO_NETWORK, flags_of(skb, &l4));
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
