/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_EVENT_H
#define RENAT_EVENT_H

/*
 * The contract between the watch programs and user space: what travels in the
 * ring buffer and what lies in the maps. bpf2go generates the Go types from
 * it. Any change of layout or meaning raises EVENT_ABI.
 */
#define EVENT_ABI 4

#pragma clang diagnostic push
#pragma clang diagnostic error "-Wpadded"

/* What was done to an entry; the numbers are correlator.Op's. */
enum event_op {
	OP_INSERT = 1,
	OP_EVICT = 2,
	OP_DELETE = 3,
};

/* Bits of event.flags. */
enum event_flag {
	EVENT_FORCED = 1,  /* evict: the entry was in use lately */
	EVENT_WANTED = 2,  /* would be sent without send_everything, too */
	EVENT_SYSCALL = 4, /* done through bpf(2); comm is set */
	EVENT_VALUE = 8,   /* to is set */
	EVENT_AGED = 16,   /* age is set */
	EVENT_TICKS = 32,  /* age counts units of 256 ticks, else seconds */
	EVENT_ALIVE = 64,  /* the CT entry was a living TCP connection's; age is what it had left */
};

/* Whole words, so that they are copied as such. */
#define KEY_MAX 40
#define TO_MAX 24

/*
 * One operation on a watched map. Byte order: as in the map, i.e. key and to
 * are network order; everything else is the host's.
 */
struct event {
	__u64 ktime;        /* CLOCK_MONOTONIC, nanoseconds */
	__u64 caller;       /* return address into the calling program or syscall, 0 if unknown */
	__u8 key[KEY_MAX];  /* the map's key as it is: 14 bytes for IPv4, 38 for IPv6, then zeros */
	__u8 to[TO_MAX];    /* NAT value: address and port, 6 bytes for IPv4, 18 for IPv6, then zeros */
	__u8 comm[16];      /* of the process, with EVENT_SYSCALL only; else not set */
	__u32 map;          /* kernel's map id */
	__u16 cpu;
	__u16 error;        /* positive errno, 0 when it worked */
	__u8 abi;           /* EVENT_ABI */
	__u8 op;            /* enum event_op */
	__u8 flags;         /* enum event_flag */
	__u8 update_flags;  /* insert: BPF_ANY 0, BPF_NOEXIST 1, BPF_EXIST 2 */
	__u32 age;          /* evict, delete: how long ago the NAT entry was made, with EVENT_AGED only; of CT see EVENT_ALIVE */
};

/* A watched map, in one word: user space stores it whole, the programs load it whole. */
struct watched {
	__u32 map;          /* its id, 0: none */
	__u8 slot;          /* index into counts */
	__u8 shared;        /* in places: another map has the same place, see watching */
	__u8 family;        /* 4 or 6 */
	__u8 ct;            /* 1: a connection tracking map, 0: NAT */
};

/* What one CPU counted for one watched map. */
struct counters {
	__u64 inserts;          /* updates that worked */
	__u64 insert_eexist;    /* failed updates by errno: 17 */
	__u64 insert_enomem;    /* 12 */
	__u64 insert_ebusy;     /* 16 */
	__u64 insert_other;
	__u64 evictions;        /* forced ones included */
	__u64 forced;
	__u64 deletes_syscall;  /* deletes that worked, by who did them */
	__u64 deletes_program;
	__u64 deletes_unknown;  /* kernel addresses are hidden: no telling */
	__u64 delete_enoent;    /* deletes that found nothing */
	__u64 delete_other;
	__u64 withheld;         /* inserts the filter did not send */
	__u64 sent;
	__u64 dropped;          /* ring buffer full */
	__u64 evicted_alive;    /* CT: evictions of living connections' entries */
	__u64 deleted_alive_syscall;  /* CT: deletes of such, by who did them */
	__u64 deleted_alive_program;
	__u64 deleted_alive_unknown;
};

/* How many traces run at once at most. */
#define TRACES 8

/* An operation on a traced connection's entry, in the ring of the traces. */
struct traced {
	struct event event;
	__u64 traces;           /* a bit for each that is to have it */
};

/* The time within which trace_max events of a trace are sent: 2^27 ns, 134 ms. */
#define TRACE_WINDOW_SHIFT 27

/* What one CPU sent for the same traces. */
struct trace_budget {
	__u64 window;           /* number of the current one */
	__u64 used;             /* events within it */
	__u64 dropped;          /* events that were too many, or found the ring full */
};

/* Value of the hooks map (one entry): what the hooks themselves missed. */
struct hook_counters {
	__u64 unpaired;         /* kprobe: a call whose return was not seen, or whose place another took */
	__u64 stash_full;       /* kprobe: no room to remember a syscall */
	__u64 batch_cut;        /* keys of a syscall that could not be read */
};

#pragma clang diagnostic pop

#endif
