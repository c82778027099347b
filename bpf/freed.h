/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_FREED_H
#define RENAT_FREED_H

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
