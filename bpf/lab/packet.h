/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef LAB_PACKET_H
#define LAB_PACKET_H

/* The part of the socket buffer that a TC program may read (uapi). */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
};

#define bpf_htons(x) __builtin_bswap16(x)

enum {
	TC_ACT_OK = 0,
	TC_ACT_SHOT = 2,

	ETH_HLEN = 14,
	ETH_P_IP = 0x0800,
	ETH_P_IPV6 = 0x86dd,

	PROTO_TCP = 6,
	PROTO_UDP = 17,

	/* Offsets of fields. */
	IP4_PROTO = 9,
	IP4_CHECKSUM = 10,
	IP4_SADDR = 12,
	IP6_NEXTHDR = 6,
	IP6_SADDR = 8,
	IP6_HLEN = 40,
	TCP_FLAGS = 13,
	TCP_CHECKSUM = 16,
	UDP_CHECKSUM = 6,
	PORT_SOURCE = 0,
	PORT_DEST = 2,

	/* Flags of bpf_l4_csum_replace. */
	F_PSEUDO_HDR = 0x10,
	F_MARK_MANGLED_0 = 0x20,
};

/* Where the transport header and its checksum are. */
struct l4 {
	__u32 offset;
	__u32 checksum;
	__u64 checksum_flags;
	__u8 proto;
};

static __always_inline bool l4_at(struct l4 *l4, __u32 offset, __u8 proto)
{
	l4->offset = offset;
	l4->proto = proto;
	if (proto == PROTO_TCP) {
		l4->checksum = offset + TCP_CHECKSUM;
		l4->checksum_flags = 0;
		return true;
	}
	l4->checksum = offset + UDP_CHECKSUM;
	l4->checksum_flags = F_MARK_MANGLED_0;
	return proto == PROTO_UDP;
}

/* Reads the TCP flags; none of other protocols. */
static __always_inline __u8 flags_of(struct __sk_buff *skb, const struct l4 *l4)
{
	__u8 flags = 0;

	if (l4->proto == PROTO_TCP)
		bpf_skb_load_bytes(skb, l4->offset + TCP_FLAGS, &flags, sizeof(flags));
	return flags;
}

/* Rewrites one port and what depends on it. */
static __always_inline long set_port(struct __sk_buff *skb, const struct l4 *l4, __u32 field, __be16 from, __be16 to)
{
	if (from == to)
		return 0;
	if (bpf_l4_csum_replace(skb, l4->checksum, from, to, l4->checksum_flags | sizeof(to)))
		return -1;
	return bpf_skb_store_bytes(skb, l4->offset + field, &to, sizeof(to), 0);
}

#endif
