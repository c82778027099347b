/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef LAB_REPORT_H
#define LAB_REPORT_H

/*
 * What the datapath tells user space, the way Cilium's tells its agent at
 * medium aggregation: a packet only when its direction shows new TCP flags,
 * or nothing was told for 5 s; what opens or closes a connection always.
 * Besides, and for the laboratory's own account: the ports it chose. What it
 * drops it tells always.
 */
#pragma clang diagnostic push
#pragma clang diagnostic error "-Wpadded"

enum report_what {
	REPORT_PACKET = 1,
	REPORT_MAPPED = 2,   /* a packet without a mapping got one, to to_addr and to_port */
	REPORT_RESTORED = 3, /* a reply rebuilt the OUT entry */
	REPORT_STALE = 4,    /* a packet's mapping was to another address than it shall have: both entries went */
};

/* Addresses and ports are in network order, before translation; an IPv4 address fills the first four bytes. */
struct report {
	__u64 ktime; /* CLOCK_MONOTONIC, nanoseconds */
	__u8 saddr[16];
	__u8 daddr[16];
	__u8 to_addr[16];
	__be16 sport;
	__be16 dport;
	__be16 to_port;
	__u8 what;      /* enum report_what */
	__u8 family;    /* 4 or 6 */
	__u8 protocol;
	__u8 point;     /* of a packet: Hubble's observation point */
	__u8 reason;    /* of a packet: Hubble's trace reason; of one that was dropped: why */
	__u8 tcp_flags; /* of a packet: byte 13 of the header */
	__u16 cpu;      /* on which it was */
	__u8 reserved[2];
};

/* Keeps the type in the object's BTF, from which the Go type is made. */
const struct report *const volatile report_type __attribute__((unused)) = 0;

/* Lifetime and flags are Cilium's, and the size; by direction: 0 from the pod, 1 to it. */
struct ct_entry {
	__u64 reported[2]; /* ktime */
	__u8 seen[2];      /* TCP flags */
	__u8 reserved[14];
	__u32 lifetime; /* seconds of ktime */
	__u16 flags;
	__u16 reserved2;
	__u64 reserved3[2];
};

#pragma clang diagnostic pop

enum {
	POINT_DROPPED = 0,
	POINT_TO_ENDPOINT = 101,
	POINT_TO_STACK = 3,
	POINT_TO_NETWORK = 11,
	REASON_NEW = 1,
	REASON_ESTABLISHED = 2,
	REASON_REPLY = 3,

	DROP_POLICY_DENIED = 133,
	DROP_NO_MAPPING = 167,

	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,

	/* A FIN was seen; an RST sets both. */
	CT_RX_CLOSING = 1,
	CT_TX_CLOSING = 2,
	CT_CLOSING = CT_RX_CLOSING | CT_TX_CLOSING,
	CT_SEEN_NON_SYN = 16,

	/* Seconds, Cilium's defaults. */
	LIFETIME_TCP = 8000,
	LIFETIME_SHORT = 60, /* SYNs only, or not TCP */
	LIFETIME_CLOSING = 10,
};

#define AGGREGATION_INTERVAL 5000000000ULL /* ns, Helm's bpf.monitorInterval */

const volatile bool reporting = false;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} reports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} reports_lost SEC(".maps");

static __always_inline void report_lost(void)
{
	__u32 first = 0;
	__u64 *n = bpf_map_lookup_elem(&reports_lost, &first);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* Notes a packet in its connection's entry and tells whether to report it. */
static __always_inline bool ct_note(struct ct_entry *e, __u8 dir, __u8 tcp_flags, __u64 now)
{
	bool ended = (e->flags & CT_CLOSING) == CT_CLOSING;
	bool told = ended || tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) || tcp_flags & ~e->seen[dir] ||
		    now - e->reported[dir] > AGGREGATION_INTERVAL;

	e->seen[dir] |= tcp_flags;
	if (tcp_flags & TCP_FIN)
		e->flags |= dir ? CT_RX_CLOSING : CT_TX_CLOSING;
	if (tcp_flags & TCP_RST)
		e->flags |= CT_CLOSING;
	if (tcp_flags && !(tcp_flags & TCP_SYN))
		e->flags |= CT_SEEN_NON_SYN;
	e->lifetime = now / 1000000000ULL + ((e->flags & CT_CLOSING) == CT_CLOSING ? LIFETIME_CLOSING :
					     e->flags & CT_SEEN_NON_SYN		   ? LIFETIME_TCP :
										     LIFETIME_SHORT);
	if (told)
		e->reported[dir] = now;
	return told;
}

#endif
