// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/yard/vm"
)

// cache is where kernels are kept, relative to this folder.
const cache = "../../../.cache/vm"

// The kernels of the tests.
var (
	linux5_10      = vm.Linux{Series: "5.10", Arch: "amd64"}
	linux5_10arm64 = vm.Linux{Series: "5.10", Arch: "arm64"}
	linux6_1       = vm.Linux{Series: "6.1", Arch: "amd64"}
	linux6_1arm64  = vm.Linux{Series: "6.1", Arch: "arm64"}
	linux6_12      = vm.Linux{Series: "6.12", Arch: "amd64"}
	linux6_12arm64 = vm.Linux{Series: "6.12", Arch: "arm64"}
	linux7         = vm.Linux{Series: "7", Arch: "amd64"}
	linux7arm64    = vm.Linux{Series: "7", Arch: "arm64"}
)

const (
	everything = "^TestPrivileged" // the tests' common prefix
	// core are the tests of kprobes for what kernels differ in.
	core = "^TestPrivileged(Operations|Unsure|MissedReturn|Evictions|TrackingLost|Lacks)$"
	// In these connections break, and the agent names them.
	coreLab4 = "^TestPrivilegedLab/^none_IPv4"
	coreLab6 = "^TestPrivilegedLab/^none_IPv6"
)

// tests are what TestKernels runs on each kernel.
var tests = map[vm.Linux]string{
	linux5_10: core, linux5_10arm64: core,
	linux6_1: everything, linux6_1arm64: core,
	linux6_12: everything, linux6_12arm64: core,
	linux7: core, linux7arm64: core,
}

// laboratories are what TestLab runs on each kernel. Between the two that have
// more than the core it is shared, about as long on each; the others have one IP
// version each, as core has both.
var laboratories = map[vm.Linux]string{
	linux5_10: coreLab4, linux5_10arm64: coreLab4,
	linux6_1: "^TestPrivilegedLab|^TestPrivilegedInterrupted|^TestPrivilegedGuarded(Lab|Own)/^both_IPv6|^TestPrivilegedLate/^hubble|^TestPrivilegedKind/^IPv6", linux6_1arm64: coreLab6,
	linux6_12: coreLab4 + "|^TestPrivilegedAdvisedSize|^TestPrivilegedGuardedLab/^none_IPv4|^TestPrivilegedLate/^agent|^TestPrivilegedKind/^IPv4", linux6_12arm64: coreLab4,
	linux7: coreLab6, linux7arm64: coreLab6,
}

// chosen returns what of it RENAT_VM_KERNELS and RENAT_VM_RUN choose. Tests that
// are named run where everything does, unless kernels are, too.
func chosen(t *testing.T, runs map[vm.Linux]string) map[vm.Linux]string {
	t.Helper()
	run, names := os.Getenv("RENAT_VM_RUN"), os.Getenv("RENAT_VM_KERNELS")
	if run != "" {
		names = cmp.Or(names, fmt.Sprint(linux6_1, " ", linux6_12))
	}
	if names == "" {
		return runs
	}
	some := map[vm.Linux]string{}
	for _, l := range kernels(names) {
		if some[l] = cmp.Or(run, runs[l]); some[l] == "" {
			t.Fatalf("RENAT_VM_KERNELS: there is nothing to run on linux %s", l)
		}
	}
	return some
}

// longestFirst returns the kernels, those on which more than the core is run first:
// begun last, they would leave a processor idle.
func longestFirst(runs map[vm.Linux]string) []vm.Linux {
	isShort := func(l vm.Linux) int {
		switch runs[l] {
		case core, coreLab4, coreLab6:
			return 1
		}
		return 0
	}
	return slices.SortedFunc(maps.Keys(runs), func(a, b vm.Linux) int {
		return cmp.Or(isShort(a)-isShort(b), cmp.Compare(a.String(), b.String()))
	})
}

// kernels returns those that RENAT_VM_KERNELS names.
func kernels(names string) (all []vm.Linux) {
	for _, name := range strings.Fields(names) {
		series, arch, _ := strings.Cut(name, "-")
		all = append(all, vm.Linux{Series: series, Arch: arch})
	}
	return all
}

// privileged are the packages with tests for the machines.
var privileged = []string{"kprobes", "bpf/lab", "cmd/renat", "internal/agent", "internal/sizing/lru"}

// trouble is what a kernel prints when a test made it misbehave.
var trouble = regexp.MustCompile(`BUG:|WARNING:|Oops|rcu:? .*stall|recursive locking|hung_task|blocked for more than`)

// apart are the tests that the others do not run with: one needs a quiet
// machine, BenchmarkOverhead runs it; the other leaves a machine where
// no BPF program can be loaded any more, and so runs last.
const apart = "Overhead|Lockdown"

// TestDebianHasThem fetches the kernels. .ci/run does that while other tests run.
func TestDebianHasThem(t *testing.T) {
	for l := range tests {
		if k, err := vm.Fetch(t.Context(), cache, l); err != nil || !strings.HasPrefix(k.Release, l.Series+".") {
			t.Errorf("%s: linux %q, %v", l, k.Release, err)
		}
	}
}

// TestKernels runs the TestPrivileged… tests. To run some, name them, and where:
// RENAT_VM_RUN=TestPrivilegedStorm RENAT_VM_KERNELS="5.10-arm64 7-amd64" go test ./internal/yard/vm
func TestKernels(t *testing.T) {
	t.Parallel() // with TestLab: while one's last machine runs, the other's do
	built := map[[2]string]vm.Config{}
	runs := chosen(t, tests)
	for _, l := range longestFirst(runs) {
		run := runs[l]
		what := [2]string{l.Arch, run}
		if _, ok := built[what]; !ok {
			built[what] = testsFor(t, l.Arch, run)
		}
		onKernel(t, l, built[what])
	}
}

// testsFor builds the privileged tests for an architecture, of the core kprobes'
// only.
func testsFor(t *testing.T, arch, run string) vm.Config {
	t.Helper()
	packages := privileged
	if run == core {
		packages = privileged[:1]
	}
	dir := t.TempDir()
	c := vm.Config{Timeout: 40 * time.Minute}
	for _, pkg := range packages {
		binary, err := vm.Build(t.Context(), dir, arch, pkg)
		if err != nil {
			t.Fatal(err)
		}
		c.Commands = append(c.Commands, vm.Command{Binary: binary, Args: []string{"-test.v", "-test.run=" + run, "-test.skip=" + apart, "-test.timeout=20m"}})
	}
	if run == core {
		return c
	}
	renat, err := vm.BuildCommand(t.Context(), dir, arch, "cmd/renat")
	if err != nil {
		t.Fatal(err)
	}
	c.Files = map[string]string{"/renat": renat}
	if run == everything {
		c.Commands = append(c.Commands, vm.Command{Binary: c.Commands[0].Binary, Args: []string{"-test.v", "-test.run=Lockdown"}})
	}
	return c
}

// TestLab breaks connections and has renat name them, with time that does not
// depend on how busy this machine is: what Hubble's and the kernel's clocks say
// of the order of things is part of the test.
func TestLab(t *testing.T) {
	t.Parallel()
	binaries := map[string]string{}
	runs := chosen(t, laboratories)
	for _, l := range longestFirst(runs) {
		if binaries[l.Arch] == "" {
			var err error
			if binaries[l.Arch], err = vm.Build(t.Context(), t.TempDir(), l.Arch, "internal/yard/lab"); err != nil {
				t.Fatal(err)
			}
		}
		onKernel(t, l, vm.Config{
			Commands: []vm.Command{{Binary: binaries[l.Arch], Args: []string{"-test.v", "-test.run=" + runs[l]}}},
			Steady:   true, Memory: 2048, Timeout: 40 * time.Minute,
		})
	}
}

// installing keeps apart what apt installs.
var installing sync.Mutex

// onKernel boots a machine with the kernel, beside those of other kernels: they
// wait more than they compute.
func onKernel(t *testing.T, l vm.Linux, c vm.Config) {
	t.Helper()
	installing.Lock()
	err := vm.RequireQEMU(t.Context(), l.Arch)
	installing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if c.Kernel, err = vm.Fetch(t.Context(), cache, l); err != nil {
		t.Fatal(err)
	}
	t.Run(l.String(), func(t *testing.T) {
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
	if err := vm.RequireQEMU(t.Context(), "amd64"); err != nil {
		t.Fatal(err)
	}
	kernel, err := vm.Fetch(t.Context(), cache, linux6_1)
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

// BenchmarkOverhead measures what renat adds to an update, in instructions, which
// do not depend on how busy the host is, and in time; and what traces add to that,
// in instructions. On amd64 it compares with bpftrace. On the kernels of the tables
// in docs/performance.md, or on those of RENAT_VM_KERNELS:
// RENAT_VM_KERNELS=7-arm64 go test ./internal/yard/vm -run '^$' -bench Overhead/instructions -benchtime 1x -v
func BenchmarkOverhead(b *testing.B) {
	const watching, tracing = "TestPrivilegedOverhead", "TestPrivilegedTraceOverhead"
	for _, what := range []struct {
		name  string
		run   string
		count bool
		on    []vm.Linux
	}{
		{"instructions", watching, true, []vm.Linux{linux6_12}},
		{"time", watching, false, []vm.Linux{linux6_12}},
		{"traces", tracing, true, []vm.Linux{linux6_12, linux6_1}},
	} {
		if names := os.Getenv("RENAT_VM_KERNELS"); names != "" {
			what.on = kernels(names)
		}
		for _, l := range what.on {
			b.Run(what.name+"/"+l.String(), func(b *testing.B) { overhead(b, l, what.run, what.count) })
		}
	}
}

func overhead(b *testing.B, l vm.Linux, run string, countInstructions bool) {
	if err := vm.RequireQEMU(b.Context(), l.Arch); err != nil {
		b.Fatal(err)
	}
	binary, err := vm.Build(b.Context(), b.TempDir(), l.Arch, "kprobes")
	if err != nil {
		b.Fatal(err)
	}
	kernel, err := vm.Fetch(b.Context(), cache, l)
	if err != nil {
		b.Fatal(err)
	}
	var files map[string]string
	if l.Arch == runtime.GOARCH {
		if files, err = withLibraries(b.Context(), "/usr/bin/bpftrace"); err != nil {
			b.Fatalf("%v: install Debian's bpftrace to compare with it", err)
		}
	}
	for range b.N {
		result, err := vm.Run(b.Context(), vm.Config{
			Kernel: kernel, Output: os.Stdout, Files: files, Memory: 2048, Steady: countInstructions, Timeout: 40 * time.Minute,
			Commands: []vm.Command{{Binary: binary, Args: []string{"-test.v", "-test.run=" + run}}},
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
