/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_INSERT_H
#define RENAT_INSERT_H

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

static __always_inline bool is_wanted(const struct filter_keys *k, const struct watched *w, __u16 now)
{
	return filter_has(k->before, now) || (!w->ct && filter_has(k->after, now));
}

/* Of a traced connection's. A function of its own: it is rare. */
static __noinline bool is_traced_wanted(const struct filter_keys *k, const struct watched *w, __u16 now)
{
	return is_wanted(k, w, now);
}

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
	now = filter_glance();
	k = hash_entry(&in->entry, w);
	if (!now) {
		__u32 traces;

		now = filter_now();
		traces = traced(&in->entry, w, &k);
		if (traces) {
			struct filter_keys keys = k;
			struct watched map = *w;

			in->traces = traces;
			in->wanted = is_traced_wanted(&keys, &map, now);
			if (!in->wanted && !send_everything)
				count(in->c->withheld);
			in->ktime = bpf_ktime_get_ns();
			return true;
		}
	}
	in->wanted = is_wanted(&k, w, now);
	if (!in->wanted && !send_everything) {
		count(in->c->withheld);
		return false;
	}
	in->traces = 0;
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

#endif
