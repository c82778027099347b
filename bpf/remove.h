/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_REMOVE_H
#define RENAT_REMOVE_H

static __always_inline void remember(const struct filter_keys *k, __u16 now, bool value)
{
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
	__u16 now;
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
	now = filter_glance();
	if (!now) {
		__u32 traces = traced(&entry, w, &k);

		if (traces) {
			struct step s = {.ktime = ktime, .traces = traces, .left = left, .op = OP_EVICT, .flags = flags};

			send_traced(w, &entry, &s);
		}
		now = filter_now();
	}
	if (!w->ct || left.alive)
		remember(&k, now, !w->ct);
	else if (!send_everything)
		return;
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
	__u16 now;
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
	now = filter_glance();
	if (!now) {
		__u32 traces = traced(entry, w, &k);

		if (traces) {
			struct step s = {
				.ktime = ktime, .error = error, .by = by, .traces = traces, .left = left, .op = OP_DELETE, .flags = flags,
			};

			send_traced(w, entry, &s);
		}
		now = filter_now();
	}
	if (left.alive || (!w->ct && !error))
		remember(&k, now, value && !w->ct);
	else if (!send_everything)
		return;
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

#endif
