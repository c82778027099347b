// SPDX-License-Identifier: Apache-2.0

// Package smalldisk gives tests a disk that they can fill.
package smalldisk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a file system of its own, until the test's end.
type Disk struct {
	Dir string
	t   testing.TB
}

// New mounts a disk in memory; size as tmpfs takes it: "2m". It needs root.
func New(t testing.TB, size string) *Disk {
	t.Helper()
	d := &Disk{t: t, Dir: t.TempDir()}
	if err := syscall.Mount("tmpfs", d.Dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a small disk (needs root): %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(d.Dir, syscall.MNT_DETACH) })
	return d
}

func (d *Disk) filler() string { return filepath.Join(d.Dir, "filler") }

// Fill writes until there is no room.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.Create(d.filler())
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			d.t.Fatal(err)
		}
	}
}

// Free gives the room back.
func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatal(err)
	}
}
