// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Lists the compiled programs with their code and their names in kallsyms, which
 * are whole, without the kernel's other symbols: those are a thousand times as
 * many.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define NAME_MAX 160

/* A piece of code. */
struct jited {
	__u64 start;
	__u64 end;
	char name[NAME_MAX]; /* "bpf_prog_", the tag and the name */
};

const struct jited *const volatile jited_type __attribute__((unused)) = 0;

/* More pieces of one program would not fit into what an iterator writes at once; they stay nameless. */
#define PIECES 180

static __always_inline void write(struct seq_file *seq, struct bpf_prog *prog)
{
	struct bpf_prog_aux *aux = BPF_CORE_READ(prog, aux);
	struct jited j = {
		.start = BPF_CORE_READ(aux, ksym.start),
		.end = BPF_CORE_READ(aux, ksym.end),
	};

	if (j.start && bpf_probe_read_kernel_str(j.name, sizeof(j.name), &aux->ksym.name) > 0)
		bpf_seq_write(seq, &j, sizeof(j));
}

/* A program's functions have code and names of their own. */
SEC("iter/bpf_prog")
int list_jited(struct bpf_iter__bpf_prog *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct bpf_prog *prog = ctx->prog;
	struct bpf_prog *part;
	__u32 parts;

	if (!prog)
		return 0;
	write(seq, prog);
	parts = BPF_CORE_READ(prog, aux, func_cnt);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < PIECES && i < parts; i++) {
		if (!bpf_probe_read_kernel(&part, sizeof(part), BPF_CORE_READ(prog, aux, func) + i))
			write(seq, part);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
