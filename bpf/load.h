/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_LOAD_H
#define RENAT_LOAD_H

/*
 * Linux 6.2 and later let programs load from any kernel address through a type
 * that they name; for older ones a helper copies, which costs ten times as much.
 * What cannot be read is 0 either way.
 */
extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym;

/* Whether there is bpf_rdonly_cast: user space takes its calls out where there is not. */
const volatile bool can_load = false;

/* Memory as words: the type that the kernel is told is one of many words (of which parts may be loaded). */
static __always_inline const void *words_at(const void *address)
{
	return bpf_rdonly_cast(address, bpf_core_type_id_kernel(struct pt_regs));
}

/* Of a map that the verifier knows as a number only. */
static __always_inline __u32 id_of(const struct bpf_map *map)
{
	if (!can_load)
		return BPF_CORE_READ(map, id);
	map = bpf_rdonly_cast(map, bpf_core_type_id_kernel(struct bpf_map));
	return map->id;
}

/* Of a node of the LRU that the verifier knows as a number only: whether its entry was in use lately. */
static __always_inline bool was_used(const struct bpf_lru_node *node)
{
	if (!can_load)
		return BPF_CORE_READ(node, type) == LRU_LIST_ACTIVE || BPF_CORE_READ(node, ref);
	node = bpf_rdonly_cast(node, bpf_core_type_id_kernel(struct bpf_lru_node));
	return node->type == LRU_LIST_ACTIVE || node->ref;
}

#endif
