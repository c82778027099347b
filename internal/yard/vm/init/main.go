// SPDX-License-Identifier: Apache-2.0

// Command init is the first process of a test machine: it mounts what the
// tests need, loads the modules, runs the commands and powers off.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	// The kernel's messages go to the first serial line, the tests' to the second.
	code := 125
	out, err := setUp()
	if err == nil {
		fmt.Fprintln(out, "renat-vm-ready")
		code, err = runCommands(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	if out != nil {
		fmt.Fprintf(out, "renat-vm-exit %d\n", code)
		// Waits until the line has left the machine.
		if err := unix.IoctlSetInt(int(out.Fd()), unix.TCSBRK, 1); err != nil {
			fmt.Fprintln(os.Stderr, "init: draining the output:", err)
		}
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "init: powering off:", err)
	}
}

var mounts = []struct{ fs, at string }{
	{"devtmpfs", "/dev"},
	{"proc", "/proc"},
	{"sysfs", "/sys"},
	{"tracefs", "/sys/kernel/tracing"},
	{"securityfs", "/sys/kernel/security"},
	{"bpf", "/sys/fs/bpf"},
	{"tmpfs", "/tmp"},
	{"tmpfs", "/run"},
}

// line is the second serial line, by architecture.
var line = map[string]string{"amd64": "/dev/ttyS1", "arm64": "/dev/ttyS0"}

// setUp makes the machine usable and returns the line for the tests' output.
func setUp() (*os.File, error) {
	for _, m := range mounts {
		if err := unix.Mount(m.fs, m.at, m.fs, 0, ""); err != nil {
			return nil, fmt.Errorf("mounting %s: %w", m.at, err)
		}
	}
	out, err := os.OpenFile(line[runtime.GOARCH], os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := makeRaw(out); err != nil {
		return out, err
	}
	if err := raiseLoopback(); err != nil {
		return out, fmt.Errorf("raising the loopback device: %w", err)
	}
	if err := enterTracepoints(); err != nil {
		return out, err
	}
	// Before Linux 5.11 BPF maps count as locked memory, those that tests make, too.
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited); err != nil {
		return out, fmt.Errorf("lifting the limit of locked memory: %w", err)
	}
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return out, err
	}
	for _, path := range modules {
		content, err := os.ReadFile(path)
		if err != nil {
			return out, err
		}
		if err := unix.InitModule(content, ""); err != nil && !errors.Is(err, unix.EEXIST) {
			return out, fmt.Errorf("loading %s: %w", path, err)
		}
	}
	return out, nil
}

// raiseLoopback has 127.0.0.1 answer, as it does on any other machine.
func raiseLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// enterTracepoints turns the syscall tracepoints on while the machine still has
// one CPU (it boots with maxcpus=1), then starts the other. Later it would
// rewrite the path of every syscall while the other CPU is on it, and QEMU
// 7.2's emulation may execute the breakpoint of such a rewrite after its end:
// the kernel panics. Two users each, as the step from one to two rewrites that
// path, too.
func enterTracepoints() error {
	for _, instance := range []string{"renat1", "renat2"} {
		dir := filepath.Join("/sys/kernel/tracing/instances", instance)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		for _, event := range []string{"sys_enter_reboot", "sys_exit_reboot"} {
			if err := os.WriteFile(filepath.Join(dir, "events/syscalls", event, "enable"), []byte("1"), 0); err != nil {
				return err
			}
		}
	}
	return os.WriteFile("/sys/devices/system/cpu/cpu1/online", []byte("1"), 0)
}

// makeRaw stops the terminal from rewriting line ends.
func makeRaw(tty *os.File) error {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("setting up %s: %w", tty.Name(), err)
	}
	t.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, t); err != nil {
		return fmt.Errorf("setting up %s: %w", tty.Name(), err)
	}
	return nil
}

// runCommands runs all of them and returns the exit code of the first that
// failed.
func runCommands(out io.Writer) (int, error) {
	list, err := os.ReadFile("/commands.json")
	if err != nil {
		return 0, err
	}
	var commands [][]string
	if err := json.Unmarshal(list, &commands); err != nil {
		return 0, fmt.Errorf("reading the list of commands: %w", err)
	}
	code := 0
	for _, c := range commands {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Stdout, cmd.Stderr = out, out
		cmd.Dir = "/tmp"
		cmd.Env = []string{"PATH=/bin:/sbin", "HOME=/tmp", "TMPDIR=/tmp"}
		var exit *exec.ExitError
		switch err := cmd.Run(); {
		case errors.As(err, &exit):
			code = cmp.Or(code, max(1, exit.ExitCode()))
		case err != nil:
			return 0, fmt.Errorf("running %s: %w", c[0], err)
		}
	}
	return code, nil
}
