// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Reads how full the system's LRU maps are from the kernel's own counters,
 * without touching an entry. Kernels that do not count LRU maps answer 0;
 * user space tries it on a map of its own first.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

extern __s64 bpf_map_sum_elem_count(const struct bpf_map *map) __ksym __weak;

/* What is written for each map. */
struct occupancy {
	__s64 entries;
	__u32 map; /* id */
	__u32 reserved;
};

const struct occupancy *const volatile occupancy_type __attribute__((unused)) = 0;

SEC("iter/bpf_map")
int count_entries(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;
	struct occupancy o = {};

	if (!map || map->map_type != BPF_MAP_TYPE_LRU_HASH || !bpf_map_sum_elem_count)
		return 0;
	o.map = map->id;
	o.entries = bpf_map_sum_elem_count(map);
	bpf_seq_write(ctx->meta->seq, &o, sizeof(o));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
