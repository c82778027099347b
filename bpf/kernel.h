/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_KERNEL_H
#define RENAT_KERNEL_H

/*
 * The kernel types the programs touch, and of these only the fields they
 * read. Where a type is internal to the kernel its offsets are relocated when
 * the programs are loaded (CO-RE); the others are fixed interfaces.
 */
#include <stdbool.h>

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed short __s16;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_HASH_OF_MAPS = 13,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
};

#define BPF_F_NO_COMMON_LRU (1U << 1)
#define BPF_F_MMAPABLE (1U << 10)

/* Commands of bpf(2) that delete elements. */
enum {
	BPF_MAP_DELETE_ELEM = 3,
	BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21,
	BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25,
	BPF_MAP_DELETE_BATCH = 27,
};

/* union bpf_attr of the element and of the batch commands (uapi). */
struct attr_elem {
	__u32 map_fd;
	__u32 pad;
	__u64 key;
};

struct attr_batch {
	__u64 in_batch;
	__u64 out_batch;
	__u64 keys;
	__u64 values;
	__u32 count;
	__u32 map_fd;
};

/* Argument of the tracepoints syscalls/sys_{enter,exit}_bpf (their format file). */
struct sys_enter {
	__u64 common;
	__s64 nr;
	__u64 args[6];
};

struct sys_exit {
	__u64 common;
	__s64 nr;
	__s64 ret;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	__u64 ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#define REGS_ARG1(r) ((r)->di)
#define REGS_ARG2(r) ((r)->si)
#define REGS_ARG3(r) ((r)->dx)
#define REGS_ARG4(r) ((r)->cx)
#define REGS_RETURN(r) ((r)->ax)
/* The stack pointer once the function has returned, seen from its entry. */
#define REGS_ENTRY_FRAME(r) ((r)->sp + 8)
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31], sp, pc, pstate;
};
#define REGS_ARG1(r) ((r)->regs[0])
#define REGS_ARG2(r) ((r)->regs[1])
#define REGS_ARG3(r) ((r)->regs[2])
#define REGS_ARG4(r) ((r)->regs[3])
#define REGS_RETURN(r) ((r)->regs[0])
#define REGS_ENTRY_FRAME(r) ((r)->sp)
#else
#error "no register layout for this architecture"
#endif
#define REGS_RETURN_FRAME(r) ((r)->sp)

#define __relocated __attribute__((preserve_access_index))

struct bpf_map {
	enum bpf_map_type map_type;
	__u32 id;
} __relocated;

struct bpf_lru {
	void *del_arg;
} __relocated;

struct bpf_lru_node {
	__u8 type;
	__u8 ref;
} __relocated;

/* node->type of the list of recently used entries (enum bpf_lru_list_type). */
#define LRU_LIST_ACTIVE 0

struct htab_elem {
	struct bpf_lru_node lru_node;
	char key[0];
} __relocated;

struct fdtable {
	unsigned int max_fds;
	void **fd;
} __relocated;

struct files_struct {
	struct fdtable *fdt;
} __relocated;

struct file {
	void *private_data;
} __relocated;

struct task_struct {
	struct files_struct *files;
} __relocated;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} __relocated;

struct bpf_ksym {
	unsigned long start;
	unsigned long end;
	char name[128];
} __relocated;

struct bpf_prog_aux {
	__u32 func_cnt;
	struct bpf_prog **func;
	struct bpf_ksym ksym;
} __relocated;

struct bpf_prog {
	struct bpf_prog_aux *aux;
} __relocated;

struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
} __relocated;

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} __relocated;

#endif
