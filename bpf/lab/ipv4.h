/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef LAB_IPV4_H
#define LAB_IPV4_H

typedef __be32 addr4;

struct tuple4 {
	addr4 daddr;
	addr4 saddr;
	__be16 dport;
	__be16 sport;
	__u8 nexthdr;
	__u8 flags;
} __attribute__((packed));

struct nat4 {
	__u64 created;
	__u64 reserved[3];
	addr4 addr;
	__be16 port;
	__u16 reserved2;
};

const volatile addr4 snat4 = 0;
const volatile addr4 other4 = 0; /* 0: there is none */
const volatile addr4 pods4 = 0;
const volatile addr4 pods4_mask = 0;

/* Pods that a policy has leave from the other address; the value says nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, addr4);
	__type(value, __u8);
} policy4 SEC(".maps");

static __always_inline bool same4(addr4 a, addr4 b)
{
	return a == b;
}

static __always_inline bool is_snat4(addr4 a)
{
	return a == snat4 || (other4 && a == other4);
}

static __always_inline bool is_pod4(addr4 a)
{
	return pods4_mask && (a & pods4_mask) == pods4;
}

/* What a source becomes: the node's own stay as they are. */
static __always_inline addr4 snat_addr4(addr4 from)
{
	if (!is_pod4(from))
		return from;
	return bpf_map_lookup_elem(&policy4, &from) ? other4 : snat4;
}

/* Reads a packet's tuple in header order; false if it is none that is translated. */
static __always_inline bool parse4(struct __sk_buff *skb, struct tuple4 *t, struct l4 *l4)
{
	__u8 version_ihl, proto;
	addr4 addrs[2];
	__be16 ports[2];

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &version_ihl, 1) || bpf_skb_load_bytes(skb, ETH_HLEN + IP4_PROTO, &proto, 1) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + IP4_SADDR, addrs, sizeof(addrs)))
		return false;
	if (!l4_at(l4, ETH_HLEN + (version_ihl & 0xf) * 4, proto) || bpf_skb_load_bytes(skb, l4->offset, ports, sizeof(ports)))
		return false;
	t->saddr = addrs[0];
	t->daddr = addrs[1];
	t->sport = ports[0];
	t->dport = ports[1];
	t->nexthdr = proto;
	return true;
}

/* Rewrites the source (second: destination) address and what depends on it. */
static __always_inline long set_addr4(struct __sk_buff *skb, const struct l4 *l4, bool second, addr4 from, addr4 to)
{
	if (from == to)
		return 0;
	if (bpf_l4_csum_replace(skb, l4->checksum, from, to, l4->checksum_flags | F_PSEUDO_HDR | sizeof(to)) ||
	    bpf_l3_csum_replace(skb, ETH_HLEN + IP4_CHECKSUM, from, to, sizeof(to)))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + IP4_SADDR + (second ? sizeof(to) : 0), &to, sizeof(to), 0);
}

#endif
