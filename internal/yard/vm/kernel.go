// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Linux is a series of Debian's cloud kernels for an architecture.
type Linux struct {
	Series string // "6.12"; of "7" the newest of all 7.x
	Arch   string // amd64 or arm64
}

// String names both: 6.12-amd64.
func (l Linux) String() string { return l.Series + "-" + l.Arch }

// Kernel is an unpacked kernel package.
type Kernel struct {
	Linux
	Release string // as uname -r says: 6.1.0-56-cloud-amd64
	Image   string // path of the bootable image
	Modules string // folder of its modules
}

// Fetch downloads the newest kernel of the series that Debian has and unpacks it
// below dir, once: later calls, those of other processes too, find it there and
// need no network. It needs not be root.
func Fetch(ctx context.Context, dir string, l Linux) (Kernel, error) {
	if k, err := cached(dir, l); err == nil {
		return k, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Kernel{}, fmt.Errorf("fetching a kernel: %w", err)
	}
	a, err := newApt(filepath.Join(dir, "apt"))
	if err != nil {
		return Kernel{}, fmt.Errorf("fetching a kernel: %w", err)
	}
	held, err := lock(dir)
	if err != nil {
		return Kernel{}, fmt.Errorf("fetching a kernel: %w", err)
	}
	defer held.Close()
	if k, err := cached(dir, l); err == nil {
		return k, nil // meanwhile
	}
	work, err := os.MkdirTemp(dir, "unpack")
	if err != nil {
		return Kernel{}, fmt.Errorf("fetching a kernel: %w", err)
	}
	defer os.RemoveAll(work)
	root := filepath.Join(work, "root")
	if err := a.unpack(ctx, l, root); err != nil {
		return Kernel{}, fmt.Errorf("fetching linux %s: %w", l, err)
	}
	if err := os.Rename(root, filepath.Join(dir, l.String())); err != nil {
		return Kernel{}, fmt.Errorf("keeping linux %s: %w", l, err)
	}
	return cached(dir, l)
}

// lock has others that fetch to dir wait until it is closed: beside another apt
// fails.
func lock(dir string) (*os.File, error) {
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// cached finds a kernel that was unpacked before.
func cached(dir string, l Linux) (Kernel, error) {
	root := filepath.Join(dir, l.String())
	for _, modules := range []string{"lib/modules", "usr/lib/modules"} {
		found, err := filepath.Glob(filepath.Join(root, modules, "*"))
		if err != nil || len(found) != 1 {
			continue
		}
		k := Kernel{Linux: l, Release: filepath.Base(found[0]), Modules: found[0]}
		for _, k.Image = range []string{filepath.Join(root, "boot", "vmlinuz-"+k.Release), filepath.Join(k.Modules, "vmlinuz")} {
			if _, err := os.Stat(k.Image); err == nil {
				return k, nil
			}
		}
	}
	return Kernel{}, fmt.Errorf("finding a kernel in %s: there is none", root)
}

// module returns the uncompressed content of a kernel module.
func (k Kernel) module(ctx context.Context, name string) ([]byte, error) {
	var found string
	err := filepath.WalkDir(k.Modules, func(path string, _ os.DirEntry, err error) error {
		if base := filepath.Base(path); base == name+".ko" || base == name+".ko.xz" {
			found = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("finding module %s: %w", name, err)
	}
	switch filepath.Ext(found) {
	case ".ko":
		return os.ReadFile(found)
	case ".xz":
		out, err := exec.CommandContext(ctx, "xz", "-dc", found).Output()
		if err != nil {
			return nil, fmt.Errorf("unpacking %s: %w", found, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("finding module %s: linux %s has none", name, k.Release)
}

// lastLines returns the end of a command's output, at most n lines.
func lastLines(out []byte, n int) []byte {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], []byte("\n"))
}
