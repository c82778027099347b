// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
)

// Build compiles the privileged tests of a package of this module for an
// architecture, tag vmtest set, to a static binary in dir and returns its path.
func Build(ctx context.Context, dir, arch, pkg string) (string, error) {
	out := filepath.Join(dir, path.Base(pkg)+".test")
	return out, goBuild(ctx, arch, "test", "-c", "-tags", "vmtest", "-o", out, "github.com/renat-project/renat/"+pkg)
}

// BuildCommand compiles a command of this module in the same way.
func BuildCommand(ctx context.Context, dir, arch, pkg string) (string, error) {
	out := filepath.Join(dir, path.Base(pkg))
	return out, goBuild(ctx, arch, "build", "-o", out, "github.com/renat-project/renat/"+pkg)
}

// goBuild runs the go command, without cgo so that nothing is needed at run time,
// nor tables for debuggers, as each boot reads all of it.
func goBuild(ctx context.Context, arch string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", slices.Insert(args, 1, "-ldflags=-s -w")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", args[0], err, lastLines(out, 20))
	}
	return nil
}
