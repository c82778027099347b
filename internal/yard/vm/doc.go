// SPDX-License-Identifier: Apache-2.0

// Package vm runs tests as root of a kernel of their own: it boots QEMU in
// software emulation, which needs no privilege and no KVM, on one of Debian's
// cloud kernels.
//
//	go test -c ──▶ initramfs (init/, modules, test binaries) ──▶ QEMU ──▶ output, exit code
//
// Fetch gets a kernel, Build the test binaries, Run boots them. The functions
// keep no state and may be called from any goroutine; two machines at once
// share the host's cores. Tests that need all this are named TestPrivileged…
// and built with the tag vmtest; the tests of this package run them on both
// architectures' kernels.
package vm
