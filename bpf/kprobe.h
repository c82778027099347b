/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_KPROBE_H
#define RENAT_KPROBE_H

/*
 * The fallback where fentry is missing. A return probe has no arguments, so
 * the entry probe leaves them under the stack address the function returns to.
 * No two calls in flight share one, on whichever CPU, in whichever interrupt;
 * should a return be missed, the next call at that address replaces what was
 * left and counts it. The map is preallocated and no LRU: safe under the
 * LRU's lock.
 *
 * The kernel runs no kprobe program inside the element commands of bpf(2), so
 * deletes made that way are taken at the syscall's own tracepoints. Updates
 * made that way, and the evictions they cause, stay unseen.
 */
struct call {
	__u64 map;    /* struct bpf_map * */
	__u64 arg;    /* key, or LRU node */
	__u64 value;
	__u64 flags;
	__u64 caller;
	__u32 id;
	__u32 hook;   /* which function: enum event_op */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct call);
} calls SEC(".maps");

/* Read before the return probe of the same function puts its own address there. */
static __always_inline __u64 return_address(struct pt_regs *ctx)
{
#if defined(__TARGET_ARCH_x86)
	__u64 address = 0;

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
	struct bpf_map *map = (void *)REGS_ARG1(ctx);
	__u64 frame = REGS_ENTRY_FRAME(ctx);
	struct hook_counters *c;
	struct watched w;
	struct call call = {
		.map = (__u64)map,
		.arg = REGS_ARG2(ctx),
		.id = BPF_CORE_READ(map, id),
		.hook = hook,
	};

	if (!find(call.id, &w)) {
		/* What a missed return left here would be taken for this call's. */
		if (bpf_map_lookup_elem(&calls, &frame) && !bpf_map_delete_elem(&calls, &frame)) {
			c = hook_counts();
			if (c)
				count(c->unpaired);
		}
		return;
	}
	if (hook == OP_INSERT) {
		call.value = REGS_ARG3(ctx);
		call.flags = REGS_ARG4(ctx);
	}
	if (hook != OP_EVICT)
		call.caller = return_address(ctx);
	if (!bpf_map_update_elem(&calls, &frame, &call, BPF_NOEXIST))
		return;
	c = hook_counts();
	if (!c)
		return;
	if (bpf_map_update_elem(&calls, &frame, &call, BPF_EXIST))
		count(c->stash_full);
	else
		count(c->unpaired);
}

/* Takes the call that returns now, if its map is watched. */
static __always_inline bool leave(struct pt_regs *ctx, __u32 hook, struct call *call)
{
	__u64 frame = REGS_RETURN_FRAME(ctx);
	struct call *c = bpf_map_lookup_elem(&calls, &frame);

	if (!c || c->hook != hook)
		return false;
	*call = *c;
	bpf_map_delete_elem(&calls, &frame);
	return true;
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
	struct watched w;
	struct insert in;
	struct call call;

	if (leave(ctx, OP_INSERT, &call) && find(call.id, &w) &&
	    insert_matters(&in, &w, (void *)call.arg, (void *)call.value, error))
		send_insert(&in, &w, error, call.flags, program_at(call.caller));
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
	struct bpf_lru_node *node;
	struct watched w;
	struct call call;

	if (!leave(ctx, OP_EVICT, &call))
		return 0;
	node = (void *)call.arg;
	if (find(call.id, &w) && (__u8)REGS_RETURN(ctx))
		on_evict(&w, node, BPF_CORE_READ(node, type) == LRU_LIST_ACTIVE || BPF_CORE_READ(node, ref));
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
	struct entry entry = {};
	struct watched w;
	struct call call;
	bool value = false;

	if (!leave(ctx, OP_DELETE, &call) || !find(call.id, &w))
		return 0;
	read_key(&entry, &w, (void *)call.arg);
	if (!error)
		value = take_freed(&entry, call.id);
	on_delete(&w, &entry, value, error, program_at(call.caller));
	return 0;
}

/* Instead of free_probe. */
SEC("kprobe/htab_lru_map_delete_elem")
int delete_look_probe(struct pt_regs *ctx)
{
	struct bpf_map *map = (void *)REGS_ARG1(ctx);
	__u32 id = BPF_CORE_READ(map, id);
	struct watched w;

	if (find(id, &w))
		on_deletion(&w, (void *)REGS_ARG2(ctx));
	return 0;
}

SEC("kprobe/bpf_lru_push_free")
int free_probe(struct pt_regs *ctx)
{
	struct bpf_lru *lru = (void *)REGS_ARG1(ctx);
	struct bpf_map *map = BPF_CORE_READ(lru, del_arg);
	__u32 id = BPF_CORE_READ(map, id);
	struct watched w;

	if (find(id, &w))
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
