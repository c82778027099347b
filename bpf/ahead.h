/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_AHEAD_H
#define RENAT_AHEAD_H

/*
 * Where nothing can be hooked in the LRU (Linux 7.3) a program looks an entry up
 * before it is deleted. That takes no lock. It sets the entry's reference bit,
 * which ends with it. User space puts the watched maps here, by their ids; those
 * of one kind must be alike, so there is one for each.
 */
#define LOOKED_AT(name, key_bytes, value_bytes, lru_flags)                     \
	struct {                                                               \
		__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);                       \
		__uint(max_entries, 256);                                      \
		__type(key, __u32);                                            \
		__array(values, struct {                                       \
			__uint(type, BPF_MAP_TYPE_LRU_HASH);                   \
			__uint(map_flags, lru_flags);                          \
			__uint(max_entries, 2);                                \
			__uint(key_size, key_bytes);                           \
			__uint(value_size, value_bytes);                       \
		});                                                            \
	} name SEC(".maps")

LOOKED_AT(look_nat4, KEY4_SIZE, VALUE4_SIZE, 0);
LOOKED_AT(look_ct4, KEY4_SIZE, VALUE_CT_SIZE, 0);
LOOKED_AT(look_6, KEY6_SIZE, VALUE6_SIZE, 0);
LOOKED_AT(look_nat4_local, KEY4_SIZE, VALUE4_SIZE, BPF_F_NO_COMMON_LRU);
LOOKED_AT(look_ct4_local, KEY4_SIZE, VALUE_CT_SIZE, BPF_F_NO_COMMON_LRU);
LOOKED_AT(look_6_local, KEY6_SIZE, VALUE6_SIZE, BPF_F_NO_COMMON_LRU);

static __always_inline void *look_in(void *maps, __u32 id, const void *key)
{
	void *map = bpf_map_lookup_elem(maps, &id);

	return map ? bpf_map_lookup_elem(map, key) : 0;
}

/* Leaves for take_freed what on_free would. */
static __always_inline void on_deletion(const struct watched *w, const void *key)
{
	struct freed *f = freed_here();
	struct entry entry = {};
	void *value;

	read_key(&entry, w, key);
	if (w->family == 6) {
		value = look_in(&look_6, w->map, entry.key);
		if (!value)
			value = look_in(&look_6_local, w->map, entry.key);
	} else if (w->ct) {
		value = look_in(&look_ct4, w->map, entry.key);
		if (!value)
			value = look_in(&look_ct4_local, w->map, entry.key);
	} else {
		value = look_in(&look_nat4, w->map, entry.key);
		if (!value)
			value = look_in(&look_nat4_local, w->map, entry.key);
	}
	if (!f || !value)
		return;
	read_value(&entry, w, value);
	*(volatile __u32 *)&f->seq += 1;
	f->map = w->map;
	f->entry = entry;
	*(volatile __u32 *)&f->seq += 1;
}

#endif
