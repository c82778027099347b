// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// bpffs is a file system for pins that is mounted nowhere: it is reached through
// a file descriptor, nobody else sees it, and it ends with the process.
type bpffs struct{ mount *os.File }

func newBPFFS() (*bpffs, error) {
	ctx, err := unix.Fsopen("bpf", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("opening a BPF file system: %w", err)
	}
	defer unix.Close(ctx)
	if err := unix.FsconfigCreate(ctx); err != nil {
		return nil, fmt.Errorf("making a BPF file system: %w", err)
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mounting a BPF file system: %w", err)
	}
	return &bpffs{os.NewFile(uintptr(fd), "bpffs")}, nil
}

// dir is the path of the file system's root, in this process only.
func (b *bpffs) dir() string { return fmt.Sprintf("/proc/self/fd/%d", b.mount.Fd()) }

func (b *bpffs) close() error { return b.mount.Close() }
