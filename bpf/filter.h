/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_FILTER_H
#define RENAT_FILTER_H

/*
 * Remembers which connections lost an entry lately, so that of all inserts
 * only those that may matter are sent.
 *
 * A Bloom filter whose cells hold times instead of bits: a removal stores the
 * time in two cells, an insert matters if both its cells are younger than
 * filter_window. Cells are only ever overwritten by younger times, by plain
 * stores, so nothing needs clearing, rotating or atomics, and nothing inside
 * the window can be forgotten. What fills up is only its precision.
 *
 * Time is the kernel's tick counter, which costs one load where a clock costs
 * a call, in units of a power of two of them. User space, which knows how long a
 * tick is, sets both. A cell's 16 bits wrap after 65,536 units, eight times
 * the window it begins with; an old cell may then look young, which sends a
 * needless insert. With the longest window all that were written are young.
 */
#define FILTER_LINE 32 /* cells of one cache line, 2^5 */

struct filter_line {
	__u16 cell[FILTER_LINE];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* user space sets filter_mask + 1 */
	__type(key, __u32);
	__type(value, struct filter_line);
} filter SEC(".maps");

const volatile __u32 filter_mask = 0;
const volatile __u64 filter_scale = 0; /* 2^48 / ticks of a unit */
volatile __u64 filter_glance_scale;    /* the same, or 0 while traces run */
volatile __u16 filter_window; /* units, below 65535; user space lengthens it */

/* The two hashes an entry is remembered by. */
struct filter_keys {
	__u64 before; /* of the key's local end and the server */
	__u64 after;  /* of the address it is translated to and the server */
};

/*
 * A product's bits depend on the lower ones of what is multiplied only, and an
 * IPv4 port lies above its address: the lowest bits, which choose the line, get
 * the highest ones mixed in, and the highest choose the cells.
 */
static __always_inline __u64 mix(__u64 h, __u64 v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ (h >> 36);
}

/* 0 is the cell nobody wrote, so time skips it. */
static __always_inline __u16 filter_now(void)
{
	__u64 t = bpf_jiffies64() * filter_scale >> 48;

	/* if (!t) t = 1, for which the compiler needs twice as many instructions */
	asm volatile("if %[t] != 0 goto +1\n"
		     "%[t] = 1"
		     : [t] "+r"(t));
	return t;
}

/*
 * The same, or 0: then filter_now is to be asked. That it may be 0 has to be
 * looked at anyway. While traces run it always is, which leads to what is done
 * for them, and costs nothing while none does.
 */
static __always_inline __u64 filter_glance(void)
{
	return bpf_jiffies64() * filter_glance_scale >> 48;
}

static __always_inline struct filter_line *filter_find(__u64 h)
{
	__u32 line = h & filter_mask;

	return bpf_map_lookup_elem(&filter, &line);
}

static __always_inline __u32 first_cell(__u64 h)
{
	return h >> 59;
}

/* An odd number of cells further, so never the same. */
static __always_inline __u32 second_cell(__u64 h)
{
	return (first_cell(h) + (h >> 54 | 1)) % FILTER_LINE;
}

static __always_inline void filter_add(__u64 h, __u16 now)
{
	struct filter_line *line = filter_find(h);

	if (!line)
		return;
	line->cell[first_cell(h)] = now;
	line->cell[second_cell(h)] = now;
}

/* One unit of slack: the CPU that stored the cell may have seen the next tick already. */
static __always_inline bool young(__u16 cell, __u16 now)
{
	return cell && (__u16)(now - cell + 1) <= filter_window + 1;
}

static __always_inline bool filter_has(__u64 h, __u16 now)
{
	struct filter_line *line = filter_find(h);

	return line && young(line->cell[first_cell(h)], now) && young(line->cell[second_cell(h)], now);
}

#endif
