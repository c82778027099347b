/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_SEND_H
#define RENAT_SEND_H

/* Events, and what is told in them. */

const volatile bool send_everything = false;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* user space sets the size */
} events SEC(".maps");

/* All but who did it is set. */
static __always_inline void fill(struct event *e, const struct watched *w, const struct entry *entry,
				 __u64 ktime, enum event_op op, __u8 flags, int error)
{
	typedef __u64 __attribute__((may_alias)) word;
	word *key = (word *)e->key, *to = (word *)e->to;

	e->ktime = ktime;
	e->caller = 0;
	/* Word by word: those of an IPv4 entry that are 0 need no memory before. */
#pragma unroll
	for (int i = 0; i < KEY_MAX / 8; i++)
		key[i] = entry->key[i];
#pragma unroll
	for (int i = 0; i < TO_MAX / 8; i++)
		to[i] = entry->to[i];
	e->map = w->map;
	e->cpu = bpf_get_smp_processor_id();
	e->error = error;
	e->abi = EVENT_ABI;
	e->op = op;
	e->flags = flags;
	e->update_flags = 0;
	e->age = 0;
}

/* NULL and a count if the ring is full. */
static __always_inline struct event *begin(struct counters *c, const struct watched *w, const struct entry *entry,
					   __u64 ktime, enum event_op op, __u8 flags, int error)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (e)
		fill(e, w, entry, ktime, op, flags, error);
	else
		count(c->dropped);
	return e;
}

/*
 * Tells how old a removed entry was. Which of the two clocks stamped it shows
 * in the stamp: ticks begin five minutes before 2^32, so that a stamp of theirs
 * lies ahead of the seconds for half a year, and of two ages the right one is
 * the lesser.
 */
static __always_inline void tell_age(struct event *e, const struct entry *entry)
{
	__u64 seconds = e->ktime / NSEC_PER_SEC - entry->created;
	__u64 ticks = (bpf_jiffies64() >> 8) - entry->created;
	__u64 age = ticks < seconds ? ticks : seconds;

	if (!entry->created || age >> 32)
		return;
	e->age = age;
	e->flags |= EVENT_AGED | (ticks < seconds ? EVENT_TICKS : 0);
}

/* Of a CT entry: how long it had left, and by which clock. */
struct left {
	__s32 units;
	bool ticks;
	bool alive; /* a pod's TCP connection had it, which was established and not closed */
};

/* Which of the two clocks set its end shows in which is nearer: they lie half a year apart. */
static __always_inline struct left left_of(const struct entry *entry, const struct watched *w, __u64 ktime)
{
	__s32 seconds = entry->ct.ends - (__u32)(ktime / NSEC_PER_SEC);
	__s32 ticks = entry->ct.ends - (__u32)(bpf_jiffies64() >> 8);
	__u16 tail = w->family == 6 ? entry->key[4] >> 32 : entry->key[1] >> 32; /* protocol, flags */
	struct left left = {.units = seconds};

	if ((ticks < 0 ? -ticks : ticks) < (seconds < 0 ? -seconds : seconds)) {
		left.units = ticks;
		left.ticks = true;
	}
	left.alive = left.units > 0 && tail == TAIL_TCP_OUT && (entry->ct.flags & CT_SEEN_NON_SYN) &&
		     (entry->ct.flags & CT_CLOSING) != CT_CLOSING;
	return left;
}

static __always_inline void tell_left(struct event *e, struct left left)
{
	e->age = left.units;
	e->flags |= EVENT_ALIVE | EVENT_WANTED | (left.ticks ? EVENT_TICKS : 0);
}

static __always_inline void name_caller(struct event *e, struct caller by)
{
	e->caller = by.address;
	if (by.is_syscall) {
		e->flags |= EVENT_SYSCALL;
		bpf_get_current_comm(e->comm, sizeof(e->comm));
	}
}

static __always_inline void send(struct counters *c, struct event *e)
{
	count(c->sent);
	bpf_ringbuf_submit(e, 0);
}

#endif
