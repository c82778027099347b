/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_CALLER_H
#define RENAT_CALLER_H

/* Who changes a map. */

/* Where the kernel's text lies; 0 if user space may not know. */
const volatile __u64 text_start = 0;
const volatile __u64 text_end = 0;
/*
 * The helpers through which programs change a map that the verifier could not
 * tell: kernel text, though no syscall. 0 and 0 if unknown.
 */
const volatile __u64 update_helper_start = 0;
const volatile __u64 update_helper_end = 0;
const volatile __u64 delete_helper_start = 0;
const volatile __u64 delete_helper_end = 0;

/* How often a BPF program got a name in kallsyms: user space's copy is stale if it moved. */
volatile __u64 programs_named;

/* Who called, as far as it is known. */
struct caller {
	__u64 address;
	bool is_syscall;
	bool is_program;
};

static __always_inline bool in_helper(__u64 address)
{
	return (address >= update_helper_start && address < update_helper_end) ||
	       (address >= delete_helper_start && address < delete_helper_end);
}

static __always_inline struct caller caller_at(__u64 address)
{
	struct caller c = {.address = address};

	if (address && text_start) {
		c.is_syscall = address >= text_start && address < text_end;
		c.is_program = !c.is_syscall;
	}
	return c;
}

#endif
