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
	"strings"
)

// Debian's packages that depend on its newest cloud kernel of a series.
const (
	Linux6_1  = "linux-image-cloud-amd64"
	Linux6_12 = "linux-image-6.12-cloud-amd64"
)

// Kernel is an unpacked kernel package.
type Kernel struct {
	Release string // as uname -r says: 6.1.0-56-cloud-amd64
	Image   string // path of the bootable image
	Modules string // folder of its modules
}

// Fetch downloads the kernel that metapackage stands for and unpacks it below
// dir, once: later calls find it there and need no network.
func Fetch(ctx context.Context, dir, metapackage string) (Kernel, error) {
	if k, err := cached(dir, metapackage); err == nil {
		return k, nil
	}
	name, err := dependency(ctx, metapackage)
	if err != nil {
		return Kernel{}, err
	}
	parent := filepath.Join(dir, metapackage)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return Kernel{}, fmt.Errorf("fetching a kernel: %w", err)
	}
	work, err := os.MkdirTemp(parent, "unpack")
	if err != nil {
		return Kernel{}, fmt.Errorf("fetching a kernel: %w", err)
	}
	defer os.RemoveAll(work)
	download := exec.CommandContext(ctx, "apt-get", "download", name)
	download.Dir = work
	if out, err := download.CombinedOutput(); err != nil {
		return Kernel{}, fmt.Errorf("downloading %s (apt-get update may help): %w: %s", name, err, lastLines(out, 3))
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(debs) != 1 {
		return Kernel{}, fmt.Errorf("downloading %s: %d packages arrived", name, len(debs))
	}
	root := filepath.Join(work, "root")
	if out, err := exec.CommandContext(ctx, "dpkg", "-x", debs[0], root).CombinedOutput(); err != nil {
		return Kernel{}, fmt.Errorf("unpacking %s: %w: %s", name, err, lastLines(out, 3))
	}
	if err := os.Rename(root, filepath.Join(parent, "root")); err != nil && !errors.Is(err, os.ErrExist) {
		return Kernel{}, fmt.Errorf("keeping %s: %w", name, err)
	}
	return cached(dir, metapackage)
}

// cached finds a kernel that was unpacked before.
func cached(dir, metapackage string) (Kernel, error) {
	root := filepath.Join(dir, metapackage, "root")
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return Kernel{}, fmt.Errorf("finding a kernel in %s: %d images", root, len(images))
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	return Kernel{Release: release, Image: images[0], Modules: filepath.Join(root, "lib", "modules", release)}, nil
}

// dependency asks apt which package a metapackage stands for.
func dependency(ctx context.Context, metapackage string) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", metapackage).Output()
	if err != nil {
		return "", fmt.Errorf("asking apt for %s (the kernels come from Debian 12 and its security updates): %w", metapackage, err)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("asking apt for %s: it names no kernel", metapackage)
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
			return nil, fmt.Errorf("unpacking %s (needs xz-utils): %w", found, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("finding module %s: linux %s has none", name, k.Release)
}

// RequireQEMU installs QEMU with apt if it is missing and the process may,
// and else fails with what to install.
func RequireQEMU(ctx context.Context) error {
	if _, err := exec.LookPath(qemu); err == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s is missing: install it (apt-get install qemu-system-x86)", qemu)
	}
	install := exec.CommandContext(ctx, "apt-get", "install", "-y", "--no-install-recommends", "qemu-system-x86")
	install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("installing qemu-system-x86 (apt-get update may help): %w: %s", err, lastLines(out, 3))
	}
	return nil
}

// lastLines returns the end of a command's output, at most n lines.
func lastLines(out []byte, n int) []byte {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], []byte("\n"))
}
