// SPDX-License-Identifier: Apache-2.0

package lab

// The objects are committed for both architectures: building needs no clang.

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -tags linux -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" -type report datapath lab.bpf.c
