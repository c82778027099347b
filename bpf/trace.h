/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_TRACE_H
#define RENAT_TRACE_H

/*
 * Traces: every operation on the entries of chosen connections is sent, in a
 * ring of their own. While none runs that costs one test, and while some do the
 * others' operations a look into two tables.
 */

/*
 * Which traces there are, a byte with a bit each for the NAT maps of IPv4 and
 * of IPv6, and for their CT maps. User space sets a bit once the rules are in
 * place, and clears it before it changes them.
 */
volatile __u64 tracing;

/* Whether there may be any: what they need is not verified without. */
const volatile bool traceable = false;

static __always_inline bool is_tracing(void)
{
	return traceable && tracing;
}

/*
 * What a trace chooses: a side of a connection matches where (side & mask) ==
 * want. A side is a port, the protocol above it (the server's only), and above
 * that an address: of IPv6 40 bits of its hash.
 */
struct trace_rule {
	__u64 pod, pod_mask;
	__u64 server, server_mask;
};

#define SIDE_PROTOCOL 16
#define SIDE_ADDRESS 24

volatile struct trace_rule trace_rules4[TRACES];
volatile struct trace_rule trace_rules6[TRACES];

static __always_inline __u64 side4(__be32 address, __be16 port)
{
	return (__u64)address << SIDE_ADDRESS | port;
}

static __always_inline __u64 side6(const __u64 *address, __be16 port)
{
	return (mix(mix(0, address[0]), address[1]) & ~0ULL << SIDE_ADDRESS) | port;
}

/* A bit for each pod's address that a trace asks for, all of them if one asks for none. */
volatile __u64 trace_pods;

static __always_inline __u64 pod_bit(__u64 address)
{
	return trace_pods >> (address * 0x9e3779b97f4a7c15ULL >> 58) & 1;
}

/*
 * SNAT addresses of traced connections: hashes of them and the server, the
 * lowest byte of each replaced by the traces. Whatever happens to such a port
 * afterwards belongs to the trace, also what names no pod any more. A newer
 * connection may take an older one's cell.
 */
#define TRACE_PORTS 512

volatile __u64 trace_ports[TRACE_PORTS];

static __always_inline volatile __u64 *trace_port(__u64 hash)
{
	return &trace_ports[(hash >> 32) % TRACE_PORTS];
}

static __always_inline bool is_port(__u64 cell, __u64 hash)
{
	return (cell ^ hash) >> 8 == 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} trace_events SEC(".maps");

/* How many events for the same traces one CPU sends at most within 2^TRACE_WINDOW_SHIFT ns. */
const volatile __u32 trace_max = 256;

/* By which traces an event is for: what many want does not use up what one wants. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << TRACES);
	__type(key, __u32);
	__type(value, struct trace_budget);
} trace_budgets SEC(".maps");

/* The pod's address, or the last half of it. */
static __always_inline __u64 pod_of(const struct entry *e, const struct watched *w)
{
	const struct key4 *k4 = (const void *)e->key;
	const struct key6_tail *k6 = (const void *)&e->key[4];

	if (w->family == 6) {
		if (!(k6->flags & KEY_FLAG_IN))
			return w->ct ? e->key[1] : e->key[3];
		return w->ct ? e->key[3] : e->to[1];
	}
	if (!(k4->flags & KEY_FLAG_IN))
		return w->ct ? k4->daddr : k4->saddr;
	return w->ct ? k4->saddr : (__u32)e->to[0];
}

/* An entry's. */
struct sides {
	__u64 pod, server;
};

static __always_inline struct sides sides_of(const struct entry *e, const struct watched *w)
{
	struct sides s;
	bool in, first;
	__u8 protocol;

	if (w->family == 6) {
		const struct key6_tail *t = (const void *)&e->key[4];
		const __u64 *daddr = &e->key[0], *saddr = &e->key[2];

		in = t->flags & KEY_FLAG_IN;
		first = in != w->ct;
		protocol = t->nexthdr;
		s.server = side6(first ? saddr : daddr, in ? t->sport : t->dport);
		if (in && !w->ct)
			s.pod = side6(e->to, e->to[2]);
		else
			s.pod = side6(first ? daddr : saddr, in ? t->dport : t->sport);
	} else {
		const struct key4 *t = (const void *)e->key;

		in = t->flags & KEY_FLAG_IN;
		first = in != w->ct;
		protocol = t->nexthdr;
		s.server = side4(first ? t->saddr : t->daddr, in ? t->sport : t->dport);
		if (in && !w->ct)
			s.pod = side4(e->to[0], e->to[0] >> 32);
		else
			s.pod = side4(first ? t->daddr : t->saddr, in ? t->dport : t->sport);
	}
	s.server |= (__u64)protocol << SIDE_PROTOCOL;
	return s;
}

/* 1 if x is 0, without a branch, which the compiler must not see through. */
static __always_inline __u32 is_zero(__u64 x)
{
	__u64 minus = -x;

	asm volatile("" : "+r"(minus));
	return ~(x | minus) >> 63;
}

/* The traces that a connection matches. Global and without pointers, so that the verifier walks it once. */
__noinline int matching(__u64 pod, __u64 server, bool v6)
{
	const volatile struct trace_rule *rules = v6 ? trace_rules6 : trace_rules4;
	__u32 found = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < TRACES; i++) {
		__u64 misses = ((pod & rules[i].pod_mask) ^ rules[i].pod) | ((server & rules[i].server_mask) ^ rules[i].server);

		found |= is_zero(misses) << i;
	}
	return found;
}

/* The traces that an entry belongs to; SNAT addresses are learnt on the way. A function of its own: it is long. */
static __noinline __u32 traces_of(const struct entry *e, const struct watched *w, const struct filter_keys *k)
{
	__u32 asked = tracing >> ((w->ct ? 16 : 0) + (w->family == 6 ? 8 : 0)) & ((1 << TRACES) - 1);
	struct sides s = sides_of(e, w);
	volatile __u64 *port = trace_port(k->before);
	__u64 cell = *port;
	__u32 found = is_port(cell, k->before) ? cell : 0;

	found = (found | matching(s.pod, s.server, w->family == 6)) & asked;
	if (!found || w->ct || !(e->to[0] | e->to[1]))
		return found;
	port = trace_port(k->after);
	cell = *port;
	*port = (k->after & ~0xffULL) | found | (is_port(cell, k->after) ? cell & asked : 0);
	return found;
}

/* The same, for all operations while traces run: few belong to one. */
static __always_inline __u32 traced(const struct entry *e, const struct watched *w, const struct filter_keys *k)
{
	if (!pod_bit(pod_of(e, w)) && !is_port(*trace_port(k->before), k->before))
		return 0;
	return traces_of(e, w, k);
}

/* An operation on an entry that traces follow. */
struct step {
	__u64 ktime;
	struct caller by;
	struct left left;
	int error;
	__u32 traces;
	__u8 op;
	__u8 flags;
	__u8 update_flags;
};

/* Tells whether this CPU may send another event for these traces, else counts it. */
static __always_inline bool afford(struct trace_budget *b, __u64 ktime)
{
	__u64 window = ktime >> TRACE_WINDOW_SHIFT;

	if (b->window != window) {
		b->window = window;
		b->used = 0;
	}
	b->used++;
	return b->used <= trace_max;
}

/* Sends it to the traces. A function of its own: it is rare. */
static __noinline int send_traced(const struct watched *w, const struct entry *entry, const struct step *s)
{
	struct trace_budget *b = bpf_map_lookup_elem(&trace_budgets, &s->traces);
	struct traced *t = 0;

	if (!b)
		return 0;
	if (afford(b, s->ktime))
		t = bpf_ringbuf_reserve(&trace_events, sizeof(*t), 0);
	if (!t) {
		count(b->dropped);
		return 0;
	}
	fill(&t->event, w, entry, s->ktime, s->op, s->flags, s->error);
	t->event.update_flags = s->update_flags;
	if (s->left.alive)
		tell_left(&t->event, s->left);
	else if (s->op != OP_INSERT && s->flags & EVENT_VALUE)
		tell_age(&t->event, entry);
	if (s->op != OP_EVICT)
		name_caller(&t->event, s->by);
	t->traces = s->traces;
	bpf_ringbuf_submit(t, 0);
	return 0;
}

#endif
