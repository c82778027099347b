// SPDX-License-Identifier: Apache-2.0

package kprobes

// The objects are committed for both architectures: building needs no clang.
// They are made with Debian 12's clang 14 and libbpf-dev 1.1; others give
// other bytes.

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -tags linux -type event -type traced -type trace_budget -type event_op -type event_flag -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" watch ../bpf/watch.bpf.c
//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -tags linux -type occupancy -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" occupancy ../bpf/occupancy.bpf.c
//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -tags linux -type jited -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" jited ../bpf/jited.bpf.c
//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -tags linux -type guard_record -type guard_status -type guard_run -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" guard ../bpf/guard.bpf.c
