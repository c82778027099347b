/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_WATCHED_H
#define RENAT_WATCHED_H

/*
 * The watched maps, found by id with one load: a map's place is its id modulo
 * PLACES. Where two maps want one place the first has it, and the others are
 * found in watching, which has all of them. User space stores whole words.
 */
#define PLACES 1024

volatile __u64 places[PLACES] SEC(".data.places"); /* struct watched each */

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
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hook_counters);
} hooks SEC(".maps");

#define count(field) __sync_fetch_and_add(&(field), 1)

/* Tells whether a map is watched, and what of it. */
static __always_inline bool find(__u32 map, struct watched *w)
{
	union {
		__u64 word;
		struct watched w;
	} found;
	__u64 *p;

	found.word = places[map % PLACES];
	if (found.w.map != map) {
		if (!found.w.shared)
			return false;
		p = bpf_map_lookup_elem(&watching, &map);
		if (!p)
			return false;
		found.word = *p;
	}
	*w = found.w;
	w->shared = 0; /* which nobody asks any more, and is dear to carry */
	return true;
}

/* Tells whether it is a NAT map of IPv4, of which most operations are. */
static __always_inline bool is_nat4(const struct watched *w)
{
	__u64 word;

	__builtin_memcpy(&word, w, sizeof(word)); /* family and ct at once */
	return word >> 48 == 4;
}

/* Says the same of such a map in constants, for code that is shorter for it. */
static __always_inline struct watched nat4(const struct watched *w)
{
	return (struct watched){.map = w->map, .slot = w->slot, .family = 4};
}

static __always_inline struct counters *counters_of(const struct watched *w)
{
	__u32 slot = w->slot;

	return bpf_map_lookup_elem(&counts, &slot);
}

static __always_inline struct hook_counters *hook_counts(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&hooks, &zero);
}

#endif
