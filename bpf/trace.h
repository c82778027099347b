/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_TRACE_H
#define RENAT_TRACE_H

/*
 * Traces: every operation on the entries of chosen connections is sent, in a
 * ring of their own. While none runs that costs nothing where filter_glance is
 * asked, else one test; while some do, the others' operations a look into two
 * tables.
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

static __always_inline __u64 trace_side4(__be32 address, __be16 port)
{
	return (__u64)address << SIDE_ADDRESS | port;
}

static __always_inline __u64 trace_side6(const __u64 *address, __be16 port)
{
	return (mix(mix(0, address[0]), address[1]) & ~0ULL << SIDE_ADDRESS) | port;
}

/*
 * SNAT addresses of traced connections: hashes of them and the server, the
 * lowest byte of each replaced by the traces. Whatever happens to such a port
 * afterwards belongs to the trace, also what names no pod any more. A newer
 * connection may take an older one's cell.
 */
#define TRACE_PORTS (1 << 9)

volatile __u64 trace_ports[TRACE_PORTS];

static __always_inline volatile __u64 *trace_port(__u64 hash)
{
	return &trace_ports[hash >> 55];
}

static __always_inline bool is_port(__u64 cell, __u64 hash)
{
	return (cell ^ hash) >> 8 == 0;
}

/*
 * What has no mark belongs to no trace. User space marks pods, by the last two
 * bytes of the addresses that traces ask for, all if one asks for none. SNAT
 * ports are marked by the highest bits of their hashes, until no trace runs.
 */
volatile struct trace_marks {
	__u8 ports[1 << 12];
	__u8 pods[1 << 16];
} trace_marks;

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

/* marks->field[index], in fewer instructions than the compiler's. */
#define mark(marks, field, index)                                                        \
	({                                                                               \
		__u64 i = index;                                                         \
		asm volatile("%[i] += %[base]\n"                                         \
			     "%[i] = *(u8 *)(%[i] + %[offset])"                          \
			     : [i] "+r"(i)                                               \
			     : [base] "r"(marks),                                        \
			       [offset] "i"(__builtin_offsetof(struct trace_marks, field))); \
		i;                                                                       \
	})

/*
 * Tells whether an entry may belong to a trace, which few do: whether its SNAT
 * port is marked, or an address that may be a pod's. Which of two is the pod's is
 * dearer to tell than to look both up.
 */
static __always_inline bool is_marked(const struct entry *e, const struct watched *w, __u64 before)
{
	const volatile struct trace_marks *marks = &trace_marks;
	__u64 port;

	asm volatile("" : "+r"(marks)); /* or its address is loaded for each */
	port = mark(marks, ports, before >> 52);
	if (is_nat4(w))
		return port | mark(marks, pods, e->key[0] >> 48) | mark(marks, pods, (__u16)(e->to[0] >> 16));
	if (!w->ct)
		return port | mark(marks, pods, e->key[3] >> 48) | mark(marks, pods, e->to[1] >> 48);
	if (w->family == 6)
		return port | mark(marks, pods, e->key[1] >> 48) | mark(marks, pods, e->key[3] >> 48);
	return port | mark(marks, pods, (__u16)(e->key[0] >> 16)) | mark(marks, pods, e->key[0] >> 48);
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
		s.server = trace_side6(first ? saddr : daddr, in ? t->sport : t->dport);
		if (in && !w->ct)
			s.pod = trace_side6(e->to, e->to[2]);
		else
			s.pod = trace_side6(first ? daddr : saddr, in ? t->dport : t->sport);
	} else {
		const struct key4 *t = (const void *)e->key;

		in = t->flags & KEY_FLAG_IN;
		first = in != w->ct;
		protocol = t->nexthdr;
		s.server = trace_side4(first ? t->saddr : t->daddr, in ? t->sport : t->dport);
		if (in && !w->ct)
			s.pod = trace_side4(e->to[0], e->to[0] >> 32);
		else
			s.pod = trace_side4(first ? t->daddr : t->saddr, in ? t->dport : t->sport);
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
static __noinline __u32 traces_of(const struct entry *e, const struct watched *w, __u64 before, __u64 after)
{
	__u32 asked = tracing >> ((w->ct ? 16 : 0) + (w->family == 6 ? 8 : 0)) & ((1 << TRACES) - 1);
	struct sides s = sides_of(e, w);
	volatile __u64 *port = trace_port(before);
	__u64 cell = *port;
	__u32 found = is_port(cell, before) ? cell : 0;

	found = (found | matching(s.pod, s.server, w->family == 6)) & asked;
	if (!found || w->ct || !(e->to[0] | e->to[1]))
		return found;
	port = trace_port(after);
	cell = *port;
	*port = (after & ~0xffULL) | found | (is_port(cell, after) ? cell & asked : 0);
	trace_marks.ports[after >> 52] = 1;
	return found;
}

/* The same, for all operations while traces run: few belong to one. */
static __always_inline __u32 traced(const struct entry *e, const struct watched *w, const struct filter_keys *k)
{
	struct watched map;
	struct entry entry;

	if (!is_marked(e, w, k->before) || !traceable)
		return 0;
	map = *w; /* see read_key */
	if (!__builtin_constant_p(w->family))
		return traces_of(e, &map, k->before, k->after);
	entry = *e; /* in code for NAT maps of IPv4 only: in other code copies cost more than memory */
	return traces_of(&entry, &map, k->before, k->after);
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

/* A function of its own: it is rare. */
static __noinline int send_step(const struct watched *w, const struct entry *entry, const struct step *s)
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

/* Sends it to the traces. */
static __always_inline void send_traced(const struct watched *w, const struct entry *e, const struct step *s)
{
	struct watched map = *w; /* see read_key */
	struct entry entry;

	if (!__builtin_constant_p(w->family)) {
		send_step(&map, e, s);
		return;
	}
	entry = *e;
	send_step(&map, &entry, s);
}

#endif
