// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

// TestMain lets the binary be its own less privileged child.
func TestMain(m *testing.M) {
	if bpffs := os.Getenv("RENAT_TEST_CHILD"); bpffs != "" {
		child(bpffs)
		return
	}
	os.Exit(m.Run())
}

// report is what the child says.
type report struct {
	Error     string
	Privilege bool // it is ErrPrivilege
	Lockdown  bool // it is ErrLockdown
	Status    Status
}

// child traces for long enough to find maps.
func child(bpffs string) {
	var r report
	tracer, err := New(Config{BPFFS: bpffs, Backend: Backend(os.Getenv("RENAT_TEST_BACKEND"))})
	if err != nil {
		r = report{Error: err.Error(), Privilege: errors.Is(err, ErrPrivilege), Lockdown: errors.Is(err, ErrLockdown)}
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if err := tracer.Run(ctx, func(correlator.Event) {}); !errors.Is(err, context.DeadlineExceeded) {
			r.Error = err.Error()
		}
		r.Status = tracer.Status()
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		panic(err) // the parent shows it
	}
}

// capLast is CAP_CHECKPOINT_RESTORE, the last capability of Linux 6.12.
const capLast = 40

// asChild runs the child with these capabilities only, as root if root.
func asChild(t *testing.T, bpffs string, b Backend, root bool, capabilities ...uintptr) report {
	t.Helper()
	var out []byte
	var err error
	done := make(chan struct{})
	go func() {
		// Capabilities are the thread's; it ends with this goroutine.
		runtime.LockOSThread()
		defer close(done)
		for c := range uintptr(capLast + 1) {
			if !slices.Contains(capabilities, c) {
				if err = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
					return
				}
			}
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "RENAT_TEST_CHILD="+bpffs, "RENAT_TEST_BACKEND="+string(b))
		if !root {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err = cmd.Output()
	}()
	<-done
	var r report
	if err != nil || json.Unmarshal(out, &r) != nil {
		t.Fatalf("the child said %q: %v", out, err)
	}
	return r
}

// TestPrivilegedCapabilities proves which capabilities are enough for what.
func TestPrivilegedCapabilities(t *testing.T) {
	bpffs := newBPFFS(t)
	newMap(t, bpffs, "cilium_snat_v4_external", nat4, 64)
	if r := asChild(t, bpffs, Auto, false, unix.CAP_SETUID, unix.CAP_SETGID); !r.Privilege || !strings.Contains(r.Error, "lacks BPF and PERFMON") {
		t.Errorf("without rights: %+v", r)
	}
	for _, c := range []struct {
		backend      Backend
		capabilities []uintptr
	}{
		{Fentry, []uintptr{unix.CAP_BPF, unix.CAP_PERFMON}},
		{Kprobe, []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_ADMIN}}, // Debian's perf asks for it
	} {
		r := asChild(t, bpffs, c.backend, true, c.capabilities...)
		if r.Error != "" || r.Status.State != Watching {
			t.Errorf("%s with capabilities %v: %+v", c.backend, c.capabilities, r)
		}
		t.Logf("%s with capabilities %v: %q", c.backend, c.capabilities, r.Status.Degraded)
	}
	r := asChild(t, bpffs, Fentry, true, unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYSLOG)
	if r.Error != "" || len(r.Status.Degraded) != 0 {
		t.Errorf("with BPF, PERFMON and SYSLOG: %+v", r)
	}
	r = asChild(t, "/nowhere", Fentry, true, unix.CAP_BPF, unix.CAP_PERFMON)
	if r.Status.State != Waiting || !strings.Contains(r.Status.Problem, "grant SYS_ADMIN") {
		t.Errorf("without bpffs, with BPF and PERFMON: %+v", r)
	}
	r = asChild(t, "/sys/fs/bpf", Fentry, true, unix.CAP_BPF, unix.CAP_PERFMON)
	if r.Status.State != Waiting || !strings.Contains(r.Status.Problem, "waiting for its agent") {
		t.Errorf("without pins, with BPF and PERFMON: %+v", r)
	}
}

// TestPrivilegedLockdown locks the kernel down, which cannot be undone.
func TestPrivilegedLockdown(t *testing.T) {
	if err := os.WriteFile(lockdownFile, []byte("confidentiality"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{})
	if !errors.Is(err, ErrLockdown) {
		t.Errorf("New: %v", err)
	}
}
