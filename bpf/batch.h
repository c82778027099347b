/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_BATCH_H
#define RENAT_BATCH_H

/*
 * Deletes by bpf(2) whose keys are known only from user space's memory, once
 * the command is over.
 */

/* A function of its own, so that the verifier walks it once, not per key of a batch. */
__noinline int deleted_by_syscall(__u32 id, __u64 user_key, int error)
{
	struct caller by = {.is_syscall = true};
	struct entry entry = {};
	struct hook_counters *c;
	struct watched w;
	long failed;

	if (!find(id, &w))
		return 0;
	if (w.family == 6)
		failed = bpf_probe_read_user(entry.key, KEY6_SIZE, (void *)user_key);
	else
		failed = bpf_probe_read_user(entry.key, KEY4_SIZE, (void *)user_key);
	if (failed) {
		c = hook_counts();
		if (c)
			count(c->batch_cut);
		return 0;
	}
	on_delete(&w, &entry, false, error, by);
	return 0;
}

/*
 * Whether a batch command wrote how many entries it deleted: it does when it
 * ends well or stops in the middle (ENOENT, EFAULT, EBUSY, ENOSPC), and leaves
 * what the caller had there when it is refused at once.
 */
static __always_inline bool batch_counted(int error)
{
	return error == 0 || error == 2 || error == 14 || error == 16 || error == 28;
}

/* Keys of one batch that are looked at; more are counted as missed. */
#define BATCH_MAX 4096

/* A batch command returned that deleted n entries. */
static __always_inline void deleted_batch(__u32 id, __u64 user_keys, __u32 n)
{
	struct hook_counters *c = hook_counts();
	struct watched w;
	__u32 step;

	if (!find(id, &w))
		return;
	step = w.family == 6 ? KEY6_SIZE : KEY4_SIZE;
	for (__u32 i = 0; i < BATCH_MAX && i < n; i++)
		deleted_by_syscall(id, user_keys + i * step, 0);
	if (n > BATCH_MAX && c)
		__sync_fetch_and_add(&c->batch_cut, n - BATCH_MAX);
}

#endif
