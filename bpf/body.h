/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_BODY_H
#define RENAT_BODY_H

/*
 * What is done about an operation, whichever hook saw it. These run inside
 * the operations of the map they watch, evictions under the LRU's lock with
 * interrupts off: they touch preallocated maps of their own only, and no LRU
 * map. Only ahead.h looks into the watched one, before a delete takes a lock.
 */

const volatile bool send_everything = false;
/* Where the kernel's text lies; 0 if user space may not know. */
const volatile __u64 text_start = 0;
const volatile __u64 text_end = 0;
/*
 * The helpers through which programs change a map that the verifier could not
 * tell: kernel text, though no syscall. 0 and 0 if unknown.
 */
const volatile __u64 update_helper_start = 0;
const volatile __u64 update_helper_end = 0;
const volatile __u64 delete_helper_start = 0;
const volatile __u64 delete_helper_end = 0;

/* How often a BPF program got a name in kallsyms: user space's copy is stale if it moved. */
volatile __u64 programs_named;

/*
 * The watched maps, found by id with one load: a map's place is its id modulo
 * PLACES. Where two maps want one place the first has it, and the others are
 * found in watching, which has all of them. User space maps the array into its
 * memory, so as to store whole words.
 */
#define PLACES 1024

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, struct watched);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct watched);
} watching SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct counters);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* user space sets the size */
} events SEC(".maps");

/*
 * The entry this CPU freed last, with the value that nobody can read any more
 * once the delete returns. seq is odd while it is being written.
 */
struct freed {
	__u32 seq;
	__u32 map;
	struct entry entry;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct freed);
} freed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hook_counters);
} hooks SEC(".maps");

#define count(field) __sync_fetch_and_add(&(field), 1)

/* Who called, as far as it is known. */
struct caller {
	__u64 address;
	bool is_syscall;
	bool is_program;
};

static __always_inline bool in_helper(__u64 address)
{
	return (address >= update_helper_start && address < update_helper_end) ||
	       (address >= delete_helper_start && address < delete_helper_end);
}

static __always_inline struct caller caller_at(__u64 address)
{
	struct caller c = {.address = address};

	if (address && text_start) {
		c.is_syscall = address >= text_start && address < text_end;
		c.is_program = !c.is_syscall;
	}
	return c;
}

/* Tells whether a map is watched, and what of it. */
static __always_inline bool find(__u32 map, struct watched *w)
{
	union {
		__u64 word;
		struct watched w;
	} found;
	__u32 place = map % PLACES;
	__u64 *p = bpf_map_lookup_elem(&places, &place);

	if (!p)
		return false;
	found.word = *(volatile __u64 *)p;
	if (found.w.map != map && found.w.shared) {
		p = bpf_map_lookup_elem(&watching, &map);
		if (!p)
			return false;
		found.word = *p;
	}
	*w = found.w;
	return w->map == map;
}

static __always_inline struct counters *counters_of(const struct watched *w)
{
	__u32 slot = w->slot;

	return bpf_map_lookup_elem(&counts, &slot);
}

/* All but the caller is set. */
static __always_inline void fill(struct event *e, const struct watched *w, const struct entry *entry,
				 __u64 ktime, enum event_op op, __u8 flags, int error)
{
	e->ktime = ktime;
	e->caller = 0;
	__builtin_memcpy(e->key, entry->key, sizeof(e->key));
	__builtin_memcpy(e->to, entry->to, sizeof(e->to));
	__builtin_memset(e->comm, 0, sizeof(e->comm));
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

#include "trace.h"

static __always_inline void count_insert(struct counters *c, int error)
{
	if (!error)
		count(c->inserts);
	else if (error == 17)
		count(c->insert_eexist);
	else if (error == 12)
		count(c->insert_enomem);
	else if (error == 16)
		count(c->insert_ebusy);
	else
		count(c->insert_other);
}

/*
 * An update returned. It is split in two so that finding the caller, by far
 * the dearest part, is left to the hook and done for inserts that are sent.
 */
struct insert {
	struct counters *c;
	struct entry entry;
	__u64 ktime;
	bool wanted;
	__u32 traces;
};

static __always_inline bool insert_matters(struct insert *in, const struct watched *w, const void *key,
					   const void *value, int error)
{
	struct filter_keys k;
	__u16 now;

	in->c = counters_of(w);
	if (!in->c)
		return false;
	count_insert(in->c, error);
	__builtin_memset(&in->entry, 0, sizeof(in->entry));
	read_key(&in->entry, w, key);
	if (!w->ct)
		read_to(&in->entry, w, value);
	now = filter_now();
	k = hash_entry(&in->entry, w);
	in->wanted = filter_has(k.before, now) || (!w->ct && filter_has(k.after, now));
	in->traces = is_tracing() ? traced(&in->entry, w, &k) : 0;
	if (!in->wanted && !send_everything) {
		count(in->c->withheld);
		if (!in->traces)
			return false;
	}
	in->ktime = bpf_ktime_get_ns();
	return true;
}

static __always_inline void send_insert(struct insert *in, const struct watched *w, int error,
					__u8 update_flags, struct caller by)
{
	__u8 flags = (in->wanted ? EVENT_WANTED : 0) | (w->ct ? 0 : EVENT_VALUE);
	struct event *e;

	if (in->traces) {
		struct step s = {
			.ktime = in->ktime, .error = error, .by = by, .traces = in->traces,
			.op = OP_INSERT, .flags = flags, .update_flags = update_flags,
		};

		send_traced(w, &in->entry, &s);
	}
	if (!in->wanted && !send_everything)
		return;
	e = begin(in->c, w, &in->entry, in->ktime, OP_INSERT, flags, error);
	if (!e)
		return;
	e->update_flags = update_flags;
	name_caller(e, by);
	send(in->c, e);
}

static __always_inline void remember(const struct filter_keys *k, bool value)
{
	__u16 now = filter_now();

	filter_add(k->before, now);
	if (value)
		filter_add(k->after, now);
}

/* The LRU unlinked a node and will reuse it. */
static __always_inline void on_evict(const struct watched *w, const void *node, bool forced)
{
	struct counters *c = counters_of(w);
	struct entry entry = {};
	struct left left = {};
	struct filter_keys k;
	struct event *e;
	__u64 ktime;
	__u8 flags;

	if (!c)
		return;
	count(c->evictions);
	if (forced)
		count(c->forced);
	ktime = bpf_ktime_get_ns();
	read_node(&entry, w, node);
	if (w->ct) {
		left = left_of(&entry, w, ktime);
		if (left.alive)
			count(c->evicted_alive);
		else if (!send_everything && !is_tracing())
			return;
	}
	k = hash_entry(&entry, w);
	flags = (forced ? EVENT_FORCED : 0) | (w->ct ? 0 : EVENT_WANTED | EVENT_VALUE);
	if (is_tracing()) {
		struct step s = {.ktime = ktime, .traces = traced(&entry, w, &k), .left = left, .op = OP_EVICT, .flags = flags};

		if (s.traces)
			send_traced(w, &entry, &s);
	}
	if (w->ct && !left.alive && !send_everything)
		return;
	if (!w->ct || left.alive)
		remember(&k, !w->ct);
	e = begin(c, w, &entry, ktime, OP_EVICT, flags, 0);
	if (!e)
		return;
	if (left.alive)
		tell_left(e, left);
	else if (!w->ct)
		tell_age(e, &entry);
	send(c, e);
}

static __always_inline void count_delete(struct counters *c, int error, struct caller by)
{
	if (error == 2)
		count(c->delete_enoent);
	else if (error)
		count(c->delete_other);
	else if (by.is_syscall)
		count(c->deletes_syscall);
	else if (by.is_program)
		count(c->deletes_program);
	else
		count(c->deletes_unknown);
}

static __always_inline void count_deleted_alive(struct counters *c, struct caller by)
{
	if (by.is_syscall)
		count(c->deleted_alive_syscall);
	else if (by.is_program)
		count(c->deleted_alive_program);
	else
		count(c->deleted_alive_unknown);
}

/* A delete returned; entry has the key, and the value if the caller had it. */
static __always_inline void on_delete(const struct watched *w, struct entry *entry, bool value, int error,
				      struct caller by)
{
	struct counters *c = counters_of(w);
	struct left left = {};
	struct filter_keys k;
	struct event *e;
	__u64 ktime;
	__u8 flags;

	if (!c)
		return;
	count_delete(c, error, by);
	if ((error || (w->ct && !value)) && !send_everything && !is_tracing())
		return;
	ktime = bpf_ktime_get_ns();
	if (w->ct && value) {
		left = left_of(entry, w, ktime);
		if (left.alive)
			count_deleted_alive(c, by);
		else if (!send_everything && !is_tracing())
			return;
	}
	k = hash_entry(entry, w);
	flags = (error || w->ct ? 0 : EVENT_WANTED) | (value && !w->ct ? EVENT_VALUE : 0);
	if (is_tracing()) {
		struct step s = {
			.ktime = ktime, .error = error, .by = by, .traces = traced(entry, w, &k), .left = left, .op = OP_DELETE, .flags = flags,
		};

		if (s.traces)
			send_traced(w, entry, &s);
	}
	if ((error || (w->ct && !left.alive)) && !send_everything)
		return;
	if (left.alive || (!w->ct && !error))
		remember(&k, value && !w->ct);
	e = begin(c, w, entry, ktime, OP_DELETE, flags, error);
	if (!e)
		return;
	if (left.alive)
		tell_left(e, left);
	else if (value && !w->ct)
		tell_age(e, entry);
	name_caller(e, by);
	send(c, e);
}

static __always_inline struct freed *freed_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&freed, &zero);
}

/* A node goes back to the free list, its entry still in it. */
static __always_inline void on_free(const struct watched *w, const void *node)
{
	struct freed *f = freed_here();

	if (!f)
		return;
	*(volatile __u32 *)&f->seq += 1;
	f->map = w->map;
	__builtin_memset(&f->entry, 0, sizeof(f->entry));
	read_node(&f->entry, w, node);
	*(volatile __u32 *)&f->seq += 1;
}

/*
 * Adds the value to a deleted entry, if this CPU freed that entry last. Maps
 * are changed with migration disabled, so it is the same CPU; an interrupt in
 * between may have freed another entry, which seq and the key tell.
 */
static __always_inline bool take_freed(struct entry *entry, __u32 map)
{
	struct freed *f = freed_here();
	struct entry copy;
	__u32 seq;

	if (!f)
		return false;
	seq = *(volatile __u32 *)&f->seq;
	if (f->map != map)
		return false;
	copy = *(volatile struct entry *)&f->entry;
	if (seq & 1 || *(volatile __u32 *)&f->seq != seq || !same_key(&copy, entry))
		return false;
	__builtin_memcpy(entry->to, copy.to, sizeof(entry->to));
	entry->created = copy.created;
	return true;
}

#endif
