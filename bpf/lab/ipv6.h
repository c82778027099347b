/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef LAB_IPV6_H
#define LAB_IPV6_H

typedef struct {
	__be32 word[4];
} addr6;

struct tuple6 {
	addr6 daddr;
	addr6 saddr;
	__be16 dport;
	__be16 sport;
	__u8 nexthdr;
	__u8 flags;
} __attribute__((packed));

struct nat6 {
	__u64 created;
	__u64 reserved[3];
	addr6 addr;
	__be16 port;
	__u16 reserved2[3];
};

const volatile addr6 snat6 = {};
const volatile addr6 other6 = {}; /* zeros: there is none */
const volatile addr6 pods6 = {}; /* a /64 */

/* As policy4. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, addr6);
	__type(value, __u8);
} policy6 SEC(".maps");

static __always_inline bool same6(addr6 a, addr6 b)
{
	return a.word[0] == b.word[0] && a.word[1] == b.word[1] && a.word[2] == b.word[2] && a.word[3] == b.word[3];
}

/* Word by word: clang 14 folds a copy of the whole to the zeros it is declared with. */
#define LOADED6(a) ((addr6){{(a).word[0], (a).word[1], (a).word[2], (a).word[3]}})

static __always_inline bool is_snat6(addr6 a)
{
	return same6(a, LOADED6(snat6)) || (other6.word[0] && same6(a, LOADED6(other6)));
}

static __always_inline bool is_pod6(addr6 a)
{
	return pods6.word[0] && a.word[0] == pods6.word[0] && a.word[1] == pods6.word[1];
}

static __always_inline addr6 snat_addr6(addr6 from)
{
	if (!is_pod6(from))
		return from;
	return bpf_map_lookup_elem(&policy6, &from) ? LOADED6(other6) : LOADED6(snat6);
}

/* Reads a packet's tuple in header order; extension headers are not followed. */
static __always_inline bool parse6(struct __sk_buff *skb, struct tuple6 *t, struct l4 *l4)
{
	addr6 addrs[2];
	__be16 ports[2];
	__u8 proto;

	if (bpf_skb_load_bytes(skb, ETH_HLEN + IP6_NEXTHDR, &proto, 1) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + IP6_SADDR, addrs, sizeof(addrs)))
		return false;
	if (!l4_at(l4, ETH_HLEN + IP6_HLEN, proto) || bpf_skb_load_bytes(skb, l4->offset, ports, sizeof(ports)))
		return false;
	t->saddr = addrs[0];
	t->daddr = addrs[1];
	t->sport = ports[0];
	t->dport = ports[1];
	t->nexthdr = proto;
	return true;
}

static __always_inline long set_addr6(struct __sk_buff *skb, const struct l4 *l4, bool second, addr6 from, addr6 to)
{
	__s64 diff;

	if (same6(from, to))
		return 0;
	diff = bpf_csum_diff(from.word, sizeof(from), to.word, sizeof(to), 0);
	if (bpf_l4_csum_replace(skb, l4->checksum, 0, diff, l4->checksum_flags | F_PSEUDO_HDR))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + IP6_SADDR + (second ? sizeof(to) : 0), &to, sizeof(to), 0);
}

#endif
