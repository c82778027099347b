// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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

// RequireQEMU installs with apt what machines of the architecture need and this
// one lacks, QEMU and, for modules, xz; where the process may not, it fails with
// what to install.
func RequireQEMU(ctx context.Context, arch string) error {
	var missing []string
	for _, need := range [][2]string{{emulators[arch].command, emulators[arch].pkg}, {"xz", "xz-utils"}} {
		if _, err := exec.LookPath(need[0]); err != nil {
			missing = append(missing, need[1])
		}
	}
	if missing == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		names := strings.Join(missing, " ")
		return fmt.Errorf("missing: %s: install it as root (apt-get install %s)", names, names)
	}
	err := install(ctx, missing)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// A fresh machine has no lists of packages, and old ones name what is gone.
	if out, err := exec.CommandContext(ctx, "apt-get", "update", "-q").CombinedOutput(); err != nil {
		return fmt.Errorf("bringing apt's lists up to date: %w: %s", err, lastLines(out, 3))
	}
	return install(ctx, missing)
}

func install(ctx context.Context, packages []string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"install", "-y", "--no-install-recommends"}, packages...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("installing %s: %w: %s", strings.Join(packages, " "), err, lastLines(out, 3))
	}
	return nil
}
