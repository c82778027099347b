/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_KPROBE_H
#define RENAT_KPROBE_H

/*
 * The fallback where fentry is missing. A return probe has no arguments, so
 * the entry probe leaves them under the stack address the function returns to.
 * No two calls in flight share one, on whichever CPU, in whichever interrupt.
 * Maps are changed with migration disabled, so a call returns on the CPU it
 * began on, and the kernel runs one kprobe program at a time on each.
 *
 * Each CPU has some places for calls, which an address chooses of. Should a
 * return be missed, or two calls in flight want one place, the later call
 * replaces what was left there and counts it.
 *
 * The kernel runs no kprobe program inside the element commands of bpf(2), so
 * deletes made that way are taken at the syscall's own tracepoints. Updates
 * made that way, and the evictions they cause, stay unseen.
 */
struct call {
	__u64 frame;  /* where it returns to, 0: none */
	__u64 arg;    /* key, or LRU node */
	__u64 value;
	__u64 flags;
	__u64 caller;
	__u64 map;    /* its id */
};

#define CALL_BITS 6 /* of each function's places */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4 << CALL_BITS);
	__type(key, __u32);
	__type(value, struct call);
} calls SEC(".maps");

/* The place of a call; hook says of which function: enum event_op. */
static __always_inline struct call *call_at(__u64 frame, __u32 hook)
{
	__u32 place = hook << CALL_BITS | frame * 0x9e3779b97f4a7c15ULL >> (64 - CALL_BITS);

	return bpf_map_lookup_elem(&calls, &place);
}

/* Read before the return probe of the same function puts its own address there. */
static __always_inline __u64 return_address(struct pt_regs *ctx)
{
#if defined(__TARGET_ARCH_x86)
	__u64 address = 0;

	if (can_load)
		return *(const __u64 *)words_at((void *)ctx->sp);
	bpf_probe_read_kernel(&address, sizeof(address), (void *)ctx->sp);
	return address;
#else
	return ctx->regs[30];
#endif
}

/* Kprobes see programs only; through a helper, which stays unknown. */
static __always_inline struct caller program_at(__u64 address)
{
	struct caller c = caller_at(address);

	if (c.is_syscall)
		c.address = 0;
	c.is_syscall = false;
	c.is_program = true;
	return c;
}

static __always_inline void enter(struct pt_regs *ctx, __u32 hook)
{
	__u64 frame = REGS_ENTRY_FRAME(ctx);
	struct call *call = call_at(frame, hook);
	struct hook_counters *c;
	__u32 id = id_of((void *)REGS_ARG1(ctx));
	struct watched w;
	bool watched = find(id, &w);

	if (!call)
		return;
	/* What a missed return left here would be taken for this call's, whatever its map. */
	if (call->frame && (watched || call->frame == frame)) {
		c = hook_counts();
		if (c)
			count(c->unpaired);
		call->frame = 0;
	}
	if (!watched)
		return;
	call->frame = frame;
	call->map = id;
	call->arg = REGS_ARG2(ctx);
	if (hook == OP_INSERT) {
		call->value = REGS_ARG3(ctx);
		call->flags = REGS_ARG4(ctx);
	}
	if (hook != OP_EVICT)
		call->caller = return_address(ctx);
}

/* The call that returns now, if its map is watched; the place is free again. */
static __always_inline const struct call *leave(struct pt_regs *ctx, __u32 hook)
{
	__u64 frame = REGS_RETURN_FRAME(ctx);
	struct call *call = call_at(frame, hook);

	if (!call || call->frame != frame)
		return 0;
	call->frame = 0;
	return call;
}

SEC("kprobe/htab_lru_map_update_elem")
int update_enter(struct pt_regs *ctx)
{
	enter(ctx, OP_INSERT);
	return 0;
}

SEC("kretprobe/htab_lru_map_update_elem")
int update_return(struct pt_regs *ctx)
{
	int error = -(int)REGS_RETURN(ctx);
	const struct call *call = leave(ctx, OP_INSERT);
	struct watched w;
	struct insert in;

	if (call && find(call->map, &w) && insert_matters(&in, &w, (void *)call->arg, (void *)call->value, error))
		send_insert(&in, &w, error, call->flags, program_at(call->caller));
	return 0;
}

SEC("kprobe/htab_lru_map_delete_node")
int evict_enter(struct pt_regs *ctx)
{
	enter(ctx, OP_EVICT);
	return 0;
}

SEC("kretprobe/htab_lru_map_delete_node")
int evict_return(struct pt_regs *ctx)
{
	const struct call *call = leave(ctx, OP_EVICT);
	struct watched w;

	if (call && (__u8)REGS_RETURN(ctx) && find(call->map, &w))
		on_evict(&w, (void *)call->arg, was_used((void *)call->arg));
	return 0;
}

SEC("kprobe/htab_lru_map_delete_elem")
int delete_enter(struct pt_regs *ctx)
{
	enter(ctx, OP_DELETE);
	return 0;
}

SEC("kretprobe/htab_lru_map_delete_elem")
int delete_return(struct pt_regs *ctx)
{
	int error = -(int)REGS_RETURN(ctx);
	const struct call *call = leave(ctx, OP_DELETE);
	struct entry entry = {};
	struct watched w;
	bool value = false;

	if (!call || !find(call->map, &w))
		return 0;
	read_key(&entry, &w, (void *)call->arg);
	if (!error)
		value = take_freed(&entry, call->map);
	on_delete(&w, &entry, value, error, program_at(call->caller));
	return 0;
}

/* Instead of free_probe. */
SEC("kprobe/htab_lru_map_delete_elem")
int delete_look_probe(struct pt_regs *ctx)
{
	struct watched w;

	if (find(id_of((void *)REGS_ARG1(ctx)), &w))
		on_deletion(&w, (void *)REGS_ARG2(ctx));
	return 0;
}

SEC("kprobe/bpf_lru_push_free")
int free_probe(struct pt_regs *ctx)
{
	struct bpf_lru *lru = (void *)REGS_ARG1(ctx);
	struct watched w;

	if (find(id_of(BPF_CORE_READ(lru, del_arg)), &w))
		on_free(&w, (void *)REGS_ARG2(ctx));
	return 0;
}

/* A bpf(2) call on its way that deletes from a watched map. */
struct command {
	__u64 attr; /* user space's */
	__u32 id;
	__u32 cmd;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct command);
} commands SEC(".maps");

static __always_inline bool is_batch(__u32 cmd)
{
	return cmd == BPF_MAP_DELETE_BATCH || cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH;
}

/* The id behind a map's descriptor, or anything else behind another's: bpf(2) tells by failing. */
static __always_inline __u32 map_of(__u32 fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct bpf_map *map;
	struct file *file;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	if (bpf_probe_read_kernel(&file, sizeof(file), BPF_CORE_READ(table, fd) + fd))
		return 0;
	map = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(map, id);
}

SEC("tracepoint/syscalls/sys_enter_bpf")
int bpf_enter(struct sys_enter *ctx)
{
	__u64 self = bpf_get_current_pid_tgid();
	struct command command = {.cmd = ctx->args[0], .attr = ctx->args[1]};
	struct hook_counters *c;
	struct watched w;
	__u32 fd = 0;

	if (command.cmd == BPF_MAP_DELETE_ELEM || command.cmd == BPF_MAP_LOOKUP_AND_DELETE_ELEM)
		bpf_probe_read_user(&fd, sizeof(fd), &((struct attr_elem *)command.attr)->map_fd);
	else if (is_batch(command.cmd))
		bpf_probe_read_user(&fd, sizeof(fd), &((struct attr_batch *)command.attr)->map_fd);
	else
		return 0;
	command.id = map_of(fd);
	if (!find(command.id, &w))
		return 0;
	c = hook_counts();
	if (bpf_map_update_elem(&commands, &self, &command, BPF_ANY) && c)
		count(c->stash_full);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_bpf")
int bpf_exit(struct sys_exit *ctx)
{
	__u64 self = bpf_get_current_pid_tgid();
	struct command *stored = bpf_map_lookup_elem(&commands, &self);
	struct attr_batch batch = {};
	struct command command;
	__u64 key = 0;

	if (!stored)
		return 0;
	command = *stored;
	bpf_map_delete_elem(&commands, &self);
	if (!is_batch(command.cmd)) {
		bpf_probe_read_user(&key, sizeof(key), &((struct attr_elem *)command.attr)->key);
		deleted_by_syscall(command.id, key, -(int)ctx->ret);
		return 0;
	}
	if (batch_counted(-(int)ctx->ret) && !bpf_probe_read_user(&batch, sizeof(batch), (void *)command.attr))
		deleted_batch(command.id, batch.keys, batch.count);
	return 0;
}

SEC("kretprobe/bpf_ksym_add")
int named_return(struct pt_regs *ctx __attribute__((unused)))
{
	count(programs_named);
	return 0;
}

#endif
