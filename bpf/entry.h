/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_ENTRY_H
#define RENAT_ENTRY_H

#include "cilium.h"

/* Cilium's keys and values, as far as they are read (facts: 1.12 to 1.20). */
struct key4 {
	__be32 daddr;
	__be32 saddr;
	__be16 dport;
	__be16 sport;
	__u8 nexthdr;
	__u8 flags;
} __attribute__((packed));

/* The tail of a v6 key; its addresses are the words before. */
struct key6_tail {
	__be16 dport;
	__be16 sport;
	__u8 nexthdr;
	__u8 flags;
};

#define TO4_SIZE 6
#define TO6_SIZE 18

/*
 * A key and a NAT value's address and port, zero-filled to whole words, and
 * when the entry was made: seconds of the monotonic clock, or 256 ticks each
 * where Cilium's datapath counts in jiffies (its bpf_mono_now); 0 if unknown.
 * Of a CT entry instead when it ends, by the same clock, with its flags.
 */
struct entry {
	__u64 key[5];
	__u64 to[3];
	union {
		__u64 created;
		struct {
			__u32 ends;
			__u16 flags;
			__u16 pad;
		} ct;
	};
};

/* The bytes of a little-endian word that a key or an address leaves unused are cleared. */
#define LOW_48 0xffffffffffffULL
#define LOW_16 0xffffULL

static __always_inline void load_key(struct entry *e, const struct watched *w, const __u64 *key)
{
	const __u32 *dwords = (const void *)key;
	const __u16 *halves = (const void *)key;

	e->key[0] = key[0];
	if (w->family == 6) {
		e->key[1] = key[1];
		e->key[2] = key[2];
		e->key[3] = key[3];
		e->key[4] = (__u64)halves[18] << 32 | dwords[8];
	} else {
		e->key[1] = (__u64)halves[6] << 32 | dwords[2];
	}
}

static __always_inline void read_key(struct entry *e, const struct watched *w, const void *key)
{
	if (can_load) {
		load_key(e, w, words_at(key));
	} else if (w->family == 6) {
		bpf_probe_read_kernel(e->key, KEY6_SIZE, key);
	} else {
		__u64 read[2] = {}; /* the entry stays in registers if nobody has its address */

		bpf_probe_read_kernel(read, KEY4_SIZE, key);
		e->key[0] = read[0];
		e->key[1] = read[1];
	}
}

static __always_inline void load_to(struct entry *e, const struct watched *w, const __u64 *to)
{
	if (w->family == 6) {
		e->to[0] = to[0];
		e->to[1] = to[1];
		e->to[2] = to[2] & LOW_16;
	} else {
		e->to[0] = to[0] & LOW_48;
	}
}

static __always_inline void read_to(struct entry *e, const struct watched *w, const void *value)
{
	if (can_load) {
		load_to(e, w, words_at(value + VALUE_TO));
	} else if (w->family == 6) {
		bpf_probe_read_kernel(e->to, TO6_SIZE, value + VALUE_TO);
	} else {
		__u64 read = 0;

		bpf_probe_read_kernel(&read, TO4_SIZE, value + VALUE_TO);
		e->to[0] = read;
	}
}

static __always_inline void read_value(struct entry *e, const struct watched *w, const void *value)
{
	if (w->ct) {
		bpf_probe_read_kernel(&e->ct, sizeof(e->ct), value + CT_LIFETIME);
		return;
	}
	read_to(e, w, value);
	bpf_probe_read_kernel(&e->created, sizeof(e->created), value);
}

/* The protocol and the flags of the key of a TCP connection that a pod opened. */
#define TAIL_TCP_OUT 6

/* How keys and values lie in the maps' elements; at to a CT value has its end. */
struct element4 {
	__u64 key[2];
	__u64 value[4];
	__u64 to;
};

struct element6 {
	__u64 key[5];
	__u64 value[4];
	__u64 to[3];
};

static __always_inline void take_element4(struct entry *e, const struct watched *w, const struct element4 *from)
{
	e->key[0] = from->key[0];
	e->key[1] = from->key[1] & LOW_48;
	if (w->ct) {
		e->created = from->to;
		return;
	}
	e->to[0] = from->to & LOW_48;
	e->created = from->value[0];
}

static __always_inline void take_element6(struct entry *e, const struct watched *w, const struct element6 *from)
{
	e->key[0] = from->key[0];
	e->key[1] = from->key[1];
	e->key[2] = from->key[2];
	e->key[3] = from->key[3];
	e->key[4] = from->key[4] & LOW_48;
	if (w->ct) {
		e->created = from->to[0];
		return;
	}
	e->to[0] = from->to[0];
	e->to[1] = from->to[1];
	e->to[2] = from->to[2] & LOW_16;
	e->created = from->value[0];
}

/* Of a node of the LRU: the key follows the element, the value the key. One read takes both. */
static __always_inline void read_node(struct entry *e, const struct watched *w, const void *node)
{
	const void *elem = node - bpf_core_field_offset(struct htab_elem, lru_node);
	const void *key = elem + bpf_core_field_offset(struct htab_elem, key);

	if (can_load) {
		if (w->family == 6)
			take_element6(e, w, words_at(key));
		else
			take_element4(e, w, words_at(key));
	} else if (w->family == 6) {
		struct element6 read;

		bpf_probe_read_kernel(&read, sizeof(read), key);
		take_element6(e, w, &read);
	} else {
		struct element4 read;

		bpf_probe_read_kernel(&read, sizeof(read), key);
		take_element4(e, w, &read);
	}
}

static __always_inline bool same_key(const struct entry *a, const struct entry *b)
{
	return a->key[0] == b->key[0] && a->key[1] == b->key[1] && a->key[2] == b->key[2] &&
	       a->key[3] == b->key[3] && a->key[4] == b->key[4];
}

/* As to has it. */
static __always_inline __u64 side4(__be32 addr, __be16 port)
{
	return (__u64)port << 32 | addr;
}

static __always_inline __u64 hash6(__u64 h, const __u64 *addr, __be16 port)
{
	return mix(mix(mix(h, addr[0]), addr[1]), port);
}

/*
 * Both of a connection's entries, and its CT entry, name the same two pairs:
 * (pod, server) and (SNAT address, server). So whichever entry is removed,
 * whichever is inserted, one of the hashes meets.
 *
 * The local end is the source of OUT and the destination of IN. In CT keys
 * the two addresses, not the ports, are exchanged.
 */
static __always_inline struct filter_keys hash_entry(const struct entry *e, const struct watched *w)
{
	struct filter_keys k = {};
	__u64 h;

	if (w->family == 6) {
		const struct key6_tail *t = (const void *)&e->key[4];
		const __u64 *daddr = &e->key[0], *saddr = &e->key[2];
		bool in = t->flags & KEY_FLAG_IN, first = in != w->ct;

		h = hash6(t->nexthdr, first ? saddr : daddr, in ? t->sport : t->dport);
		k.before = hash6(h, first ? daddr : saddr, in ? t->dport : t->sport);
		k.after = hash6(h, e->to, e->to[2]);
	} else {
		__u32 low = e->key[0], high = e->key[0] >> 32;
		__u64 dst = side4(w->ct ? high : low, e->key[1]);
		__u64 src = side4(w->ct ? low : high, e->key[1] >> 16);
		bool in = e->key[1] >> 40 & KEY_FLAG_IN;

		h = mix((__u8)(e->key[1] >> 32), in ? src : dst);
		k.before = mix(h, in ? dst : src);
		k.after = mix(h, e->to[0]);
	}
	return k;
}

#endif
