/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_FENTRY_H
#define RENAT_FENTRY_H

/*
 * The hooks of choice: a return hook with all arguments at hand, which syscalls
 * cannot hide from.
 */

/* Addresses of the hooked functions; 0 if user space may not know. */
const volatile __u64 update_address = 0;
const volatile __u64 delete_address = 0;

#define FRAMES 8
/* A hooked function's frame returns into its first instructions, where it calls the hook. */
#define HOOK_CALL_MAX 32

static __always_inline bool in_text(__u64 address)
{
	return address >= text_start && address < text_end;
}

/*
 * The frame above the hooked function is its caller's, or the helper's that the
 * caller called. Newer kernels (seen in 7.3 on amd64) jump to the hook, which
 * leaves the function no frame: there it is the one above this program's and
 * the trampoline's.
 */
static __always_inline struct caller caller_of(void *ctx, __u64 function)
{
	__u64 frames[FRAMES] = {};
	__u64 address = 0;

	if (!function || bpf_get_stack(ctx, frames, sizeof(frames), 0) < 0)
		return caller_at(0);
#pragma unroll
	for (int i = 0; i < FRAMES - 2; i++) {
		if (!address && frames[i] - function <= HOOK_CALL_MAX)
			address = in_helper(frames[i + 1]) ? frames[i + 2] : frames[i + 1];
	}
	if (!address && !in_text(frames[0]) && !in_text(frames[1]))
		address = in_helper(frames[2]) ? frames[3] : frames[2];
	return caller_at(address);
}

static __always_inline void updated(__u64 *ctx, const struct watched *w)
{
	int error = -(int)ctx[4];
	struct insert in;

	if (insert_matters(&in, w, (void *)ctx[1], (void *)ctx[2], error))
		send_insert(&in, w, error, ctx[3], caller_of(ctx, update_address));
}

SEC("fexit/htab_lru_map_update_elem")
int update_exit(__u64 *ctx) /* map, key, value, flags; int */
{
	__u32 id = ((struct bpf_map *)ctx[0])->id;
	struct watched w;

	if (!find(id, &w))
		return 0;
	if (is_nat4(&w)) {
		struct watched v4 = nat4(&w);

		updated(ctx, &v4);
	} else {
		updated(ctx, &w);
	}
	return 0;
}

/* What returns is a bool: of the register only the lowest byte is defined. */
SEC("fexit/htab_lru_map_delete_node")
int evict_exit(__u64 *ctx) /* htab, node; bool */
{
	__u32 id = id_of((void *)ctx[0]);
	const struct bpf_lru_node *node = (void *)ctx[1];
	struct watched w;
	bool forced;

	if (!find(id, &w) || !(__u8)ctx[2])
		return 0;
	forced = node->type == LRU_LIST_ACTIVE || node->ref;
	if (is_nat4(&w)) {
		struct watched v4 = nat4(&w);

		on_evict(&v4, node, forced);
	} else {
		on_evict(&w, node, forced);
	}
	return 0;
}

SEC("fexit/htab_lru_map_delete_elem")
int delete_exit(__u64 *ctx) /* map, key; int */
{
	__u32 id = ((struct bpf_map *)ctx[0])->id;
	struct entry entry = {};
	int error = -(int)ctx[2];
	bool value = false;
	struct watched w;

	if (!find(id, &w))
		return 0;
	read_key(&entry, &w, (void *)ctx[1]);
	if (!error)
		value = take_freed(&entry, id);
	on_delete(&w, &entry, value, error, caller_of(ctx, delete_address));
	return 0;
}

/* Only bpf(2) comes here; value is the kernel's copy of what was taken. */
SEC("fexit/htab_lru_map_lookup_and_delete_elem")
int take_exit(__u64 *ctx) /* map, key, value, flags; int */
{
	__u32 id = ((struct bpf_map *)ctx[0])->id;
	struct caller by = {.is_syscall = true};
	struct entry entry = {};
	int error = -(int)ctx[4];
	struct watched w;

	if (!find(id, &w))
		return 0;
	read_key(&entry, &w, (void *)ctx[1]);
	if (!error)
		read_value(&entry, &w, (void *)ctx[2]);
	on_delete(&w, &entry, !error, error, by);
	return 0;
}

/* It frees whole buckets by itself; the keys are where user space asked for them. */
SEC("fexit/htab_lru_map_lookup_and_delete_batch")
int take_batch_exit(__u64 *ctx) /* map, attr, uattr; int */
{
	__u32 id = ((struct bpf_map *)ctx[0])->id;
	struct attr_batch attr = {};
	struct watched w;
	__u32 n = 0;

	if (!find(id, &w) || !batch_counted(-(int)ctx[3]) || bpf_probe_read_kernel(&attr, sizeof(attr), (void *)ctx[1]))
		return 0;
	if (!bpf_probe_read_user(&n, sizeof(n), &((struct attr_batch *)ctx[2])->count))
		deleted_batch(id, attr.keys, n);
	return 0;
}

/* Every removal that is no eviction passes here: the last sight of its value. */
SEC("fentry/bpf_lru_push_free")
int free_enter(__u64 *ctx) /* lru, node */
{
	__u32 id = id_of(((struct bpf_lru *)ctx[0])->del_arg);
	struct watched w;

	if (find(id, &w))
		on_free(&w, (void *)ctx[1]);
	return 0;
}

/* Instead of free_enter. */
SEC("fentry/htab_lru_map_delete_elem")
int delete_look(__u64 *ctx) /* map, key */
{
	__u32 id = ((struct bpf_map *)ctx[0])->id;
	struct watched w;

	if (find(id, &w))
		on_deletion(&w, (void *)ctx[1]);
	return 0;
}

SEC("fexit/bpf_ksym_add")
int named_exit(__u64 *ctx __attribute__((unused)))
{
	count(programs_named);
	return 0;
}

#endif
