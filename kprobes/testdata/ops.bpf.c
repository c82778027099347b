// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Programs that change a map as the tests tell them to: what Cilium's own
 * programs would do.
 */
#include "../../bpf/kernel.h"

#include <bpf/bpf_helpers.h>

struct __sk_buff;

enum op_kind {
	DO_UPDATE = 1,
	DO_DELETE = 2,
	DO_LOOKUP = 3, /* result 0 if found */
};

struct op {
	__u8 key[40];
	__u8 value[56];
	__u32 kind;
	__u32 flags;
	__s32 result;
	__u32 spare; /* tail_unsure_for_tests: on the spare map */
};

#define OPS_MAX 512

/* User space sets the sizes of key and value. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 14);
	__uint(value_size, 40);
} target SEC(".maps"), spare SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OPS_MAX);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE */
	__type(key, __u32);
	__type(value, struct op);
} ops SEC(".maps");

volatile __u32 ops_count;

/* Does the first ops_count operations. Its name is longer than 15 characters. */
SEC("tc")
int tail_handle_snat_fwd_for_tests(struct __sk_buff *skb __attribute__((unused)))
{
	__u32 n = ops_count;

	for (__u32 i = 0; i < OPS_MAX && i < n; i++) {
		__u32 at = i;
		struct op *op = bpf_map_lookup_elem(&ops, &at);

		if (!op)
			break;
		if (op->kind == DO_UPDATE)
			op->result = bpf_map_update_elem(&target, op->key, op->value, op->flags);
		else if (op->kind == DO_DELETE)
			op->result = bpf_map_delete_elem(&target, op->key);
		else
			op->result = bpf_map_lookup_elem(&target, op->key) ? 0 : -2;
	}
	return 0;
}

/*
 * The same without lookups, on a map that the verifier cannot tell: through the
 * kernel's helpers. A program of its own: the compiler would merge its calls
 * with those above, and these be unsure of their map, too.
 */
SEC("tc")
int tail_unsure_for_tests(struct __sk_buff *skb __attribute__((unused)))
{
	__u32 n = ops_count;

	for (__u32 i = 0; i < OPS_MAX && i < n; i++) {
		__u32 at = i;
		struct op *op = bpf_map_lookup_elem(&ops, &at);
		void *map = &target;

		if (!op)
			break;
		if (op->spare)
			map = &spare;
		asm volatile("" : "+r"(map)); /* one call, not one for each map */
		if (op->kind == DO_UPDATE)
			op->result = bpf_map_update_elem(map, op->key, op->value, op->flags);
		else
			op->result = bpf_map_delete_elem(map, op->key);
	}
	return 0;
}

#define STORM 512

/* Inserts new keys as fast as it can; counts what worked. */
volatile __u64 storm_inserts[2];

SEC("tc")
int storm(struct __sk_buff *skb __attribute__((unused)))
{
	__u32 cpu = bpf_get_smp_processor_id() & 1;
	__u64 key[5] = {};
	__u64 value[7] = {};

	for (int i = 0; i < STORM; i++) {
		key[0] = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
		key[1] = 6ULL << 32 | (bpf_get_prandom_u32() & 0xffff);
		if (!bpf_map_update_elem(&target, key, value, BPF_ANY))
			storm_inserts[cpu]++;
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
