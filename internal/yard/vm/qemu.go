// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// emulator is QEMU for an architecture.
type emulator struct {
	command, pkg string
	machine      []string // which, and its second serial line
	console      string   // as the kernel names it
}

// emulators are of the architectures that renat is built for. Their machines have
// two serial lines, the kernel's and the tests'. A processor with pointer
// authentication would be several times as slow.
var emulators = map[string]emulator{
	"amd64": {"qemu-system-x86_64", "qemu-system-x86", []string{"-cpu", "max", "-serial", "stdio"}, "ttyS0"},
	"arm64": {"qemu-system-aarch64", "qemu-system-arm", []string{"-machine", "virt", "-cpu", "neoverse-n1", "-chardev", "stdio,id=tests", "-device", "pci-serial,chardev=tests"}, "ttyAMA0"},
}

// RequireQEMU installs with apt what machines of the architectures need and this
// one lacks, QEMU and, for modules, xz; where the process may not, it fails with
// what to install.
func RequireQEMU(ctx context.Context, architectures ...string) error {
	packages := map[string]string{"xz": "xz-utils"}
	for _, arch := range architectures {
		packages[emulators[arch].command] = emulators[arch].pkg
	}
	return install(ctx, packages)
}

// withLists does what needs apt's lists, and where it fails does it again with
// new ones: a fresh machine has none, and old ones name what is gone.
func withLists(ctx context.Context, do func() error) error {
	err := do()
	if err == nil || ctx.Err() != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "apt-get", "update", "-q").CombinedOutput(); err != nil {
		return fmt.Errorf("bringing apt's lists up to date: %w: %s", err, lastLines(out, 3))
	}
	return do()
}

// install installs packages of commands, given by command, that are not there.
func install(ctx context.Context, packages map[string]string) error {
	var missing []string
	for command, name := range packages {
		if _, err := exec.LookPath(command); err != nil {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	names := strings.Join(missing, " ")
	switch {
	case missing == nil:
		return nil
	case os.Geteuid() != 0:
		return fmt.Errorf("missing: %s: install it as root (apt-get install %s)", names, names)
	}
	return withLists(ctx, func() error {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"install", "-y", "--no-install-recommends"}, missing...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("installing %s: %w: %s", names, err, lastLines(out, 3))
		}
		return nil
	})
}
