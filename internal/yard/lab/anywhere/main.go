// SPDX-License-Identifier: Apache-2.0

// Command anywhere runs "renat lab": on this machine if that can, else in a
// virtual machine. Its arguments are a renat binary, linked statically, and the
// flags of renat lab; RENAT_LAB_RECORD names a folder for a recording of a run on
// this machine. Exit code 3 means that it runs nowhere here.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/yard/vm"
)

const (
	exitFailed  = 1
	exitNowhere = 3

	cache = ".cache/vm" // where the kernels are, as for internal/yard/vm's tests
	boots = 3           // emulation is not reliable
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code, err := run(ctx, os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(ctx context.Context, renat string, flags []string) (code int, err error) {
	check := exec.CommandContext(ctx, renat, append([]string{"lab", "--check"}, flags...)...)
	var why strings.Builder
	check.Stderr = &why
	err = check.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		if record := os.Getenv("RENAT_LAB_RECORD"); record != "" { // where that can be
			flags = append(slices.Clone(flags), "--record="+record)
		}
		return runHere(ctx, renat, flags)
	case ctx.Err() != nil || !errors.As(err, &exit) || exit.ExitCode() != 1:
		return exitFailed, fmt.Errorf("%w: %s", err, why.String())
	}
	fmt.Fprintf(os.Stderr, "not on this machine: %s", why.String())
	for _, f := range flags {
		if name, _, _ := strings.Cut(f, "="); name == "--record" || name == "--state-dir" {
			return exitNowhere, fmt.Errorf("%s names a folder, and a virtual machine leaves none behind", name)
		}
	}
	return runInVM(ctx, renat, flags)
}

func runHere(ctx context.Context, renat string, flags []string) (int, error) {
	cmd := exec.CommandContext(ctx, renat, append([]string{"lab"}, flags...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), exitFailed), nil
	}
	return exitFailed, err
}

func runInVM(ctx context.Context, renat string, flags []string) (int, error) {
	// renat is this machine's, so the virtual one has its architecture.
	if err := vm.RequireQEMU(ctx, runtime.GOARCH); err != nil {
		return exitNowhere, err
	}
	kernel, err := vm.Fetch(ctx, cache, vm.Linux{Series: "6.12", Arch: runtime.GOARCH})
	if err != nil {
		return exitNowhere, err
	}
	fmt.Fprintf(os.Stderr, "so in a virtual machine: QEMU, in emulation, linux %s\n", kernel.Release)
	color := "--color=never" // the machine's own line is a terminal
	if render.Colored(os.Stdout, "auto") {
		color = "--color=always"
	}
	// What an emulated machine can do; flags that were given come after these.
	load := []string{"--connections=40", "--churn=25", "--duration=30s"}
	c := vm.Config{
		Kernel: kernel, Modules: []string{"veth", "sch_ingress", "cls_bpf"}, Memory: 2048, Steady: true,
		Commands: []vm.Command{{Binary: renat, Args: slices.Concat([]string{"lab", color}, load, flags)}},
		Timeout:  time.Hour, Output: os.Stdout,
	}
	for boot := 1; ; boot++ {
		result, err := vm.Run(ctx, c)
		if err == nil {
			return result.ExitCode, nil
		}
		if ctx.Err() != nil {
			return exitFailed, errors.New("interrupted; the machine is gone, and nothing of it is left")
		}
		if boot == boots || !errors.Is(err, vm.ErrBoot) {
			return exitFailed, err
		}
	}
}
