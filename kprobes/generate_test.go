// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -tags vmtest -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" ops testdata/ops.bpf.c
