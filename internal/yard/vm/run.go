// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The lines by which init/ tells that it begins with the commands, and their
// exit code.
const (
	readyMark = "renat-vm-ready\n"
	exitMark  = "renat-vm-exit "
)

// ErrBoot says that the machine did not come as far as the commands: what is
// tested had no part in it, QEMU's emulation may have.
var ErrBoot = errors.New("the machine did not boot")

// Config is one boot.
type Config struct {
	Kernel  Kernel
	Modules []string // loaded in this order, by name
	// Commands run one after the other, also when one has failed.
	Commands []Command
	Files    map[string]string // further files: path in the machine → path here
	Append   string            // added to the kernel's command line
	Memory   int               // MiB, 1024 if 0
	// Steady has the machine's clock count its instructions, one a nanosecond:
	// it is as fast to itself however busy the host is, and takes several times
	// as long by the host's clock when it is busy itself.
	Steady bool
	// Timeout ends the machine, by the host's clock; 0 means 5 minutes.
	Timeout time.Duration
	Output  io.Writer // what the commands print
}

// Command is one program to run in the machine.
type Command struct {
	Binary string   // path here; it must be linked statically
	Args   []string // without the program's name
}

// Result is how a boot ended.
type Result struct {
	ExitCode int    // of the first command that failed, else 0
	Console  string // all that the kernel printed
}

// Run boots a machine with two CPUs and runs the commands in it. It fails if
// the machine did not end by itself in time, a kernel panic included; the
// error then ends with the console's last lines.
func Run(ctx context.Context, c Config) (Result, error) {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.Memory == 0 {
		c.Memory = 1024
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	work, err := os.MkdirTemp("", "renat-vm")
	if err != nil {
		return Result{}, fmt.Errorf("starting a machine: %w", err)
	}
	defer os.RemoveAll(work)
	initrd := filepath.Join(work, "initrd")
	if err := c.pack(ctx, work, initrd); err != nil {
		return Result{}, fmt.Errorf("packing the initramfs: %w", err)
	}
	console := filepath.Join(work, "console")
	code, err := c.boot(ctx, initrd, console)
	printed, readErr := os.ReadFile(console)
	if readErr != nil && err == nil {
		err = readErr
	}
	if err != nil {
		return Result{Console: string(printed)}, fmt.Errorf("running on linux %s: %w; the console's last lines:\n%s",
			c.Kernel.Release, err, lastLines(printed, 40))
	}
	return Result{ExitCode: code, Console: string(printed)}, nil
}

// patient has the kernel take a host that is busy for less than two minutes for
// no lockup of its own, and not test its ciphers.
const patient = "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 cryptomgr.notests"

// boot runs QEMU to its end and returns the exit code the machine told.
func (c Config) boot(ctx context.Context, initrd, console string) (int, error) {
	emulator := emulators[c.Kernel.Arch]
	args := []string{"-accel", "tcg,thread=multi"}
	if c.Steady {
		args = []string{"-icount", "shift=0,sleep=off", "-accel", "tcg,thread=single"}
	}
	args = append(args, "-smp", "2", "-m", strconv.Itoa(c.Memory), "-kernel", c.Kernel.Image, "-initrd", initrd,
		"-append", "console="+emulator.console+" loglevel=5 panic=-1 maxcpus=1 no_timer_check "+patient+" "+c.Append,
		"-no-reboot", "-nodefaults", "-display", "none", "-monitor", "none",
		"-serial", "file:"+console)
	cmd := exec.CommandContext(ctx, emulator.command, append(args, emulator.machine...)...)
	cmd.WaitDelay = 5 * time.Second
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	r := bufio.NewReader(out)
	first, bootErr := r.ReadString('\n')
	code, copyErr := copyOutput(c.Output, r)
	switch err := cmd.Wait(); {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("still running after %s: %w", c.Timeout, ctx.Err())
	case err != nil:
		return 0, fmt.Errorf("%s: %w: %s", emulator.command, err, complaints.String())
	case bootErr != nil || first != readyMark:
		return 0, fmt.Errorf("%w: %q", ErrBoot, first)
	}
	return code, copyErr
}

// copyOutput passes lines on until the one with the exit code.
func copyOutput(to io.Writer, r *bufio.Reader) (int, error) {
	for {
		line, err := r.ReadString('\n')
		if told, ok := strings.CutPrefix(line, exitMark); ok {
			code, err := strconv.Atoi(strings.TrimSpace(told))
			if err != nil {
				return 0, fmt.Errorf("reading the exit code: %w", err)
			}
			_, err = io.Copy(io.Discard, r)
			return code, err
		}
		if _, werr := io.WriteString(to, line); werr != nil {
			return 0, werr
		}
		if errors.Is(err, io.EOF) {
			return 0, errors.New("the machine stopped before its commands ended")
		}
		if err != nil {
			return 0, err
		}
	}
}

// pack writes the initramfs.
func (c Config) pack(ctx context.Context, work, path string) error {
	initBinary := filepath.Join(work, "init")
	if err := goBuild(ctx, c.Kernel.Arch, "build", "-o", initBinary, "github.com/renat-project/renat/internal/yard/vm/init"); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	img := newImage(f)
	for _, d := range []string{"dev", "proc", "sys", "tmp", "run", "etc", "modules", "commands"} {
		img.dir(d)
	}
	img.device("dev/console", 5, 1)
	if err := img.addFile("init", initBinary); err != nil {
		return err
	}
	for i, name := range c.Modules {
		content, err := c.Kernel.module(ctx, name)
		if err != nil {
			return err
		}
		img.file(fmt.Sprintf("modules/%02d-%s.ko", i, name), 0o644, content)
	}
	var run [][]string
	for i, command := range c.Commands {
		dir := fmt.Sprintf("commands/%02d", i)
		img.dir(dir)
		name := dir + "/" + filepath.Base(command.Binary)
		if err := img.addFile(name, command.Binary); err != nil {
			return err
		}
		run = append(run, append([]string{"/" + name}, command.Args...))
	}
	list, err := json.Marshal(run)
	if err != nil {
		return err
	}
	img.file("commands.json", 0o644, list)
	dirs := map[string]bool{}
	for name, from := range c.Files {
		name = strings.TrimPrefix(name, "/")
		img.parents(name, dirs)
		if err := img.addFile(name, from); err != nil {
			return err
		}
	}
	if err := img.close(); err != nil {
		return err
	}
	return f.Close()
}

// parents adds the folders a file lies in, each once.
func (i *image) parents(name string, done map[string]bool) {
	for at, r := range name {
		if r == '/' && !done[name[:at]] {
			done[name[:at]] = true
			i.dir(name[:at])
		}
	}
}
