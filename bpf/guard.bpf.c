// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Keeps the entries of living connections in Cilium's LRU maps: a lookup by a
 * program marks an entry as used, and the kernel spares it.
 *
 * These programs look up and do nothing else to Cilium's maps. The kernel would
 * not stop them from writing, so tests do: they read the instructions, and have
 * the verifier prove it on maps that programs may not write.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "cilium.h"
#include "guard.h"

/* User space writes the records, runs a program and reads the answers. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, GUARD_WINDOW);
	__type(key, __u32);
	__type(value, struct guard_record);
} window SEC(".maps");

/* Cilium's maps take the places of these; one that it does not have stays empty. */
#define CILIUMS(name, key_bytes, value_bytes)              \
	struct {                                           \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);       \
		__uint(max_entries, 1);                    \
		__uint(key_size, key_bytes);               \
		__uint(value_size, value_bytes);           \
	} name SEC(".maps")

CILIUMS(nat4, KEY4_SIZE, VALUE4_SIZE);
CILIUMS(tcp4, KEY4_SIZE, VALUE_CT_SIZE);
CILIUMS(any4, KEY4_SIZE, VALUE_CT_SIZE);
CILIUMS(nat6, KEY6_SIZE, VALUE6_SIZE);
CILIUMS(tcp6, KEY6_SIZE, VALUE_CT_SIZE);
CILIUMS(any6, KEY6_SIZE, VALUE_CT_SIZE);

#define PROTOCOL_TCP 6

/* What a run's callbacks share. */
struct round {
	__u32 records;
	__u32 host;
	__u32 seconds; /* the two clocks that lifetimes are told by */
	__u32 ticks;
};

/* The maps of one IP version, and how long its addresses are. */
struct maps {
	void *nat;
	void *tcp;
	void *any;
	__u32 address;
};

/*
 * Whether a lifetime is over. Which of the two clocks it was told by shows in
 * it: they are months apart, and it lies near its own.
 */
static __always_inline bool is_over(__u32 lifetime, const struct round *now)
{
	__s32 seconds = (__s32)(lifetime - now->seconds);
	__s32 ticks = (__s32)(lifetime - now->ticks);
	__u32 from_seconds = seconds < 0 ? -(__u32)seconds : (__u32)seconds;
	__u32 from_ticks = ticks < 0 ? -(__u32)ticks : (__u32)ticks;

	return from_ticks < from_seconds ? ticks <= 0 : seconds <= 0;
}

static __always_inline bool same(const __u8 *a, const __u8 *b, __u32 bytes)
{
	__u8 differ = 0;

#pragma unroll
	for (__u32 i = 0; i < 16; i++)
		if (i < bytes)
			differ |= a[i] ^ b[i];
	return !differ;
}

/* What connection tracking says; the key has the addresses exchanged. */
static __always_inline __u32 look_ct(const __u8 *key, const struct maps *m, const struct round *now)
{
	__u32 a = m->address, tail = 2 * a;
	__u8 ct_key[GUARD_KEY_MAX] __attribute__((aligned(8)));
	bool tcp = key[tail + 4] == PROTOCOL_TCP;
	const __u8 *value;
	__u16 flags;

	__builtin_memcpy(ct_key, key + a, a);
	__builtin_memcpy(ct_key + a, key, a);
	__builtin_memcpy(ct_key + tail, key + tail, 6);
	value = tcp ? bpf_map_lookup_elem(m->tcp, ct_key) : bpf_map_lookup_elem(m->any, ct_key);
	if (!value)
		return GUARD_CT_GONE;
	flags = *(const __u16 *)(value + CT_FLAGS);
	if (flags & CT_CLOSING)
		return GUARD_CLOSING;
	if (is_over(*(const __u32 *)(value + CT_LIFETIME), now))
		return GUARD_EXPIRED;
	if (tcp && !(flags & CT_SEEN_NON_SYN))
		return GUARD_OPENING;
	return GUARD_OK;
}

/*
 * Connection tracking first: the NAT entries of a connection that has ended are
 * not looked up. The key of the IN entry is in the OUT entry, so what is looked
 * up is always the pair that the datapath would use.
 */
static __always_inline __u32 look(const __u8 *record_key, const struct maps *m, const struct round *now)
{
	__u32 a = m->address, tail = 2 * a, status;
	__u8 key[GUARD_KEY_MAX] __attribute__((aligned(8)));
	__u8 in_key[GUARD_KEY_MAX] __attribute__((aligned(8)));
	const __u8 *to;

	__builtin_memcpy(key, record_key, GUARD_KEY_MAX);
	status = look_ct(key, m, now);
	if (status != GUARD_OK)
		return status;
	to = bpf_map_lookup_elem(m->nat, key);
	if (!to)
		return GUARD_OUT_GONE;
	to += VALUE_TO;
	if (!now->host && same(to, key + a, a))
		return GUARD_HOST;
	__builtin_memcpy(in_key, to, a);
	__builtin_memcpy(in_key + a, key, a);
	__builtin_memcpy(in_key + tail, to + a, 2);
	__builtin_memcpy(in_key + tail + 2, key + tail, 2);
	in_key[tail + 4] = key[tail + 4];
	in_key[tail + 5] = KEY_FLAG_IN;
	to = bpf_map_lookup_elem(m->nat, in_key);
	if (!to)
		return GUARD_IN_GONE;
	to += VALUE_TO;
	if (!same(to, key + a, a) || !same(to + a, key + tail + 2, 2))
		return GUARD_MISMATCH;
	return GUARD_OK;
}

static long each4(void *map __attribute__((unused)), const __u32 *i, struct guard_record *r, struct round *now)
{
	const struct maps m = {&nat4, &tcp4, &any4, 4};

	if (*i >= now->records)
		return 1;
	r->status = look(r->key, &m, now);
	return 0;
}

static long each6(void *map __attribute__((unused)), const __u32 *i, struct guard_record *r, struct round *now)
{
	const struct maps m = {&nat6, &tcp6, &any6, 16};

	if (*i >= now->records)
		return 1;
	r->status = look(r->key, &m, now);
	return 0;
}

static __always_inline struct round begin(const struct guard_run *run)
{
	struct round r = {
		.records = run->records,
		.host = run->host,
		.seconds = bpf_ktime_get_ns() / NSEC_PER_SEC,
		.ticks = bpf_jiffies64() >> 8,
	};

	return r;
}

SEC("syscall")
int guard4(struct guard_run *run)
{
	struct round r = begin(run);

	bpf_for_each_map_elem(&window, each4, &r, 0);
	return 0;
}

SEC("syscall")
int guard6(struct guard_run *run)
{
	struct round r = begin(run);

	bpf_for_each_map_elem(&window, each6, &r, 0);
	return 0;
}

/* Only maps' types are generated by themselves: these keep the others in the BTF. */
const enum guard_status *const volatile guard_status_type __attribute__((unused)) = 0;
const struct guard_run *const volatile guard_run_type __attribute__((unused)) = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
