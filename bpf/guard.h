/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_GUARD_H
#define RENAT_GUARD_H

/* The contract between the guard's programs and user space. */

#pragma clang diagnostic push
#pragma clang diagnostic error "-Wpadded"

/* How a connection's entries were found. */
enum guard_status {
	GUARD_UNSEEN = 0,   /* nobody looked */
	GUARD_OK = 1,       /* alive, and its entries have been looked up */
	GUARD_OPENING = 2,  /* TCP: nothing but SYNs so far */
	GUARD_CLOSING = 3,  /* one side has closed it */
	GUARD_EXPIRED = 4,  /* its lifetime is over, Cilium collects it soon */
	GUARD_CT_GONE = 5,  /* connection tracking does not know it */
	GUARD_OUT_GONE = 6, /* alive, its packets have no translation */
	GUARD_IN_GONE = 7,  /* alive, its replies have no translation */
	GUARD_MISMATCH = 8, /* its replies' entry is another connection's */
	GUARD_HOST = 9,     /* it is the node's own, which was not asked for */
};

#define GUARD_KEY_MAX 40

/* One connection. */
struct guard_record {
	__u8 key[GUARD_KEY_MAX]; /* of its OUT entry, as in the NAT map: 14 bytes for IPv4, 38 for IPv6 */
	__u32 status;            /* enum guard_status, the answer */
	__u32 reserved;
};

/* Of how many connections one run takes care at most: it must not keep a CPU for long. */
#define GUARD_WINDOW 1024

/* What a run is called with. */
struct guard_run {
	__u32 records; /* at the window's beginning */
	__u32 host;    /* whether to look up the node's own connections, too */
};

#pragma clang diagnostic pop

#endif
