// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/yard/vm"
)

// cache is where kernels are kept, relative to this folder.
const cache = "../../.cache/vm"

var kernels = []string{vm.Linux6_1, vm.Linux6_12}

// privileged are the packages with tests for the machines.
var privileged = []string{"kprobes", "bpf/lab", "cmd/renat", "internal/agent", "internal/sizing/lru"}

// trouble is what a kernel prints when a test made it misbehave.
var trouble = regexp.MustCompile(`BUG:|WARNING:|Oops|rcu:? .*stall|recursive locking|hung_task|blocked for more than`)

// apart are the tests that the others do not run with: one needs a quiet
// machine, BenchmarkOverhead runs it; the other leaves a machine where
// no BPF program can be loaded any more, and so runs last.
const apart = "Overhead|Lockdown"

// TestKernels runs the TestPrivileged… tests on each kernel. To run some of
// them, give their names: RENAT_VM_RUN=TestPrivilegedStorm go test ./internal/yard/vm
func TestKernels(t *testing.T) {
	if err := vm.RequireQEMU(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := "^TestPrivileged"
	if s := os.Getenv("RENAT_VM_RUN"); s != "" {
		run = s
	}
	var commands []vm.Command
	var binaries []string
	for _, pkg := range privileged {
		binary, err := vm.Build(t.Context(), t.TempDir(), pkg)
		if err != nil {
			t.Fatal(err)
		}
		binaries = append(binaries, binary)
		commands = append(commands, vm.Command{Binary: binary, Args: []string{"-test.v", "-test.run=" + run, "-test.skip=" + apart, "-test.timeout=7m"}})
	}
	renat, err := vm.BuildCommand(t.Context(), t.TempDir(), "cmd/renat")
	if err != nil {
		t.Fatal(err)
	}
	if run == "^TestPrivileged" {
		commands = append(commands, vm.Command{Binary: binaries[0], Args: []string{"-test.v", "-test.run=Lockdown"}})
	}
	for _, name := range kernels {
		onKernel(t, name, vm.Config{Commands: commands, Files: map[string]string{"/renat": renat}, Timeout: 20 * time.Minute})
	}
}

// laboratories are what TestLab runs on each kernel, about as long on each.
// What a kernel may do differently the TestPrivileged… tests of kprobes find.
var laboratories = map[string]string{
	vm.Linux6_1:  "^TestPrivilegedLab|^TestPrivilegedInterrupted",
	vm.Linux6_12: "^TestPrivilegedLab/^none_IPv4|^TestPrivilegedAdvisedSize",
}

// TestLab breaks connections and has renat name them, with time that does not
// depend on how busy this machine is: what Hubble's and the kernel's clocks say
// of the order of things is part of the test.
func TestLab(t *testing.T) {
	if err := vm.RequireQEMU(t.Context()); err != nil {
		t.Fatal(err)
	}
	binary, err := vm.Build(t.Context(), t.TempDir(), "internal/yard/lab")
	if err != nil {
		t.Fatal(err)
	}
	for name, run := range laboratories {
		onKernel(t, name, vm.Config{
			Commands: []vm.Command{{Binary: binary, Args: []string{"-test.v", "-test.run=" + cmp.Or(os.Getenv("RENAT_VM_RUN"), run)}}},
			Steady:   true, Memory: 2048, Timeout: 20 * time.Minute,
		})
	}
}

// onKernel boots a machine with the kernel, beside those of other kernels: they
// wait more than they compute.
func onKernel(t *testing.T, name string, c vm.Config) {
	t.Helper()
	kernel, err := vm.Fetch(t.Context(), cache, name)
	if err != nil {
		t.Fatal(err)
	}
	c.Kernel = kernel
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		runOn(t, c)
	})
}

// runOn runs commands on a kernel; none may fail, nor the kernel complain.
func runOn(t *testing.T, c vm.Config) {
	t.Helper()
	c.Modules, c.Output = []string{"veth", "sch_ingress", "cls_bpf"}, t.Output()
	var result vm.Result
	var err error
	for boot := 1; ; boot++ {
		result, err = vm.Run(t.Context(), c)
		if boot == 3 || !errors.Is(err, vm.ErrBoot) {
			break
		}
		t.Logf("boot %d: %v", boot, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 {
		t.Errorf("the tests exited with %d", result.ExitCode)
	}
	if s := trouble.FindString(result.Console); s != "" {
		t.Errorf("the kernel complained (%s):\n%s", s, result.Console)
	}
}

// TestPanic has a machine's kernel panic (its first process ends) and wants
// the console's last lines in the error.
func TestPanic(t *testing.T) {
	if err := vm.RequireQEMU(t.Context()); err != nil {
		t.Fatal(err)
	}
	kernel, err := vm.Fetch(t.Context(), cache, vm.Linux6_1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	_, err = vm.Run(t.Context(), vm.Config{Kernel: kernel, Append: "rdinit=/missing", Timeout: time.Minute, Output: out})
	if !errors.Is(err, vm.ErrBoot) || !strings.Contains(fmt.Sprint(err), "Kernel panic") {
		t.Errorf("got %v, want the panic's text", err)
	}
}

// BenchmarkOverhead measures on the newer kernel what renat adds to an update,
// in instructions, which do not depend on how busy the host is, and in time:
// go test ./internal/yard/vm -run '^$' -bench Overhead/instructions -benchtime 1x -v
func BenchmarkOverhead(b *testing.B) {
	b.Run("instructions", func(b *testing.B) { overhead(b, true) })
	b.Run("time", func(b *testing.B) { overhead(b, false) })
}

func overhead(b *testing.B, countInstructions bool) {
	if err := vm.RequireQEMU(b.Context()); err != nil {
		b.Fatal(err)
	}
	binary, err := vm.Build(b.Context(), b.TempDir(), "kprobes")
	if err != nil {
		b.Fatal(err)
	}
	kernel, err := vm.Fetch(b.Context(), cache, vm.Linux6_12)
	if err != nil {
		b.Fatal(err)
	}
	const bpftrace = "/usr/bin/bpftrace"
	files, err := withLibraries(b.Context(), bpftrace)
	if err != nil {
		b.Fatalf("%v: install Debian's bpftrace to compare with it", err)
	}
	for range b.N {
		result, err := vm.Run(b.Context(), vm.Config{
			Kernel: kernel, Output: os.Stdout, Files: files, Memory: 2048, Steady: countInstructions, Timeout: 20 * time.Minute,
			Commands: []vm.Command{{Binary: binary, Args: []string{"-test.v", "-test.run=TestPrivilegedOverhead"}}},
		})
		if err != nil {
			b.Fatal(err)
		}
		if result.ExitCode != 0 {
			b.Errorf("the measurement exited with %d", result.ExitCode)
		}
	}
}

// withLibraries returns a program and what it is linked with, as Config.Files.
func withLibraries(ctx context.Context, program string) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("asking for the libraries of %s: %w", program, err)
	}
	files := map[string]string{program: program}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			files[word] = word
		}
	}
	return files, nil
}
