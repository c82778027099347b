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

// lockedMax is how much memory the child may lock unless it is told otherwise, in
// bytes: the kernel's own default.
const lockedMax = 64 << 10

// child traces for long enough to find maps.
func child(bpffs string) {
	var r report
	if os.Getenv("RENAT_TEST_UNLIMITED") == "" {
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: lockedMax, Max: lockedMax}); err != nil {
			panic(err) // the parent shows it
		}
	}
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

// needs are the capabilities that a backend needs on this kernel, where its
// memory is limited: before Linux 5.11 SYS_RESOURCE, and Debian's perf, which
// places kprobes, asks for SYS_ADMIN.
func needs(t *testing.T, b Backend, also ...uintptr) []uintptr {
	t.Helper()
	needed := append([]uintptr{unix.CAP_BPF, unix.CAP_PERFMON}, also...)
	if older(t, 5, 11) {
		needed = append(needed, unix.CAP_SYS_RESOURCE)
	}
	if b == Kprobe {
		needed = append(needed, unix.CAP_SYS_ADMIN)
	}
	return needed
}

// without returns the capabilities but for one.
func without(capabilities []uintptr, c uintptr) []uintptr {
	return slices.DeleteFunc(slices.Clone(capabilities), func(other uintptr) bool { return other == c })
}

// TestPrivilegedCapabilities proves which capabilities are enough for what, and
// that what lacks is named.
func TestPrivilegedCapabilities(t *testing.T) {
	bpffs := newBPFFS(t)
	newMap(t, bpffs, "cilium_snat_v4_external", nat4, 64)
	if r := asChild(t, bpffs, Auto, false, unix.CAP_SETUID, unix.CAP_SETGID); !r.Privilege || !strings.Contains(r.Error, "lacks BPF and PERFMON") {
		t.Errorf("without rights: %+v", r)
	}
	for _, b := range backends(t) {
		needed := needs(t, b)
		r := asChild(t, bpffs, b, true, needed...)
		if r.Error != "" || r.Status.State != Watching {
			t.Errorf("%s with capabilities %v: %+v", b, needed, r)
		}
		t.Logf("%s with capabilities %v: %q", b, needed, r.Status.Degraded)
		for c, name := range map[uintptr]string{unix.CAP_SYS_RESOURCE: "SYS_RESOURCE", unix.CAP_SYS_ADMIN: "SYS_ADMIN"} {
			if !slices.Contains(needed, c) {
				continue
			}
			r := asChild(t, bpffs, b, true, without(needed, c)...)
			if !r.Privilege || !strings.Contains(r.Error, "this process lacks "+name+" although it is root's") {
				t.Errorf("%s without %s: %+v", b, name, r)
			}
			t.Logf("%s without %s: %s", b, name, r.Error)
		}
	}
	b := backends(t)[0]
	withNames(t, bpffs, b)
	elsewhere(t, b)
	t.Setenv("RENAT_TEST_UNLIMITED", "1")
	if r := asChild(t, bpffs, b, true, without(needs(t, b), unix.CAP_SYS_RESOURCE)...); r.Error != "" || r.Status.State != Watching {
		t.Errorf("%s where memory is not limited, without SYS_RESOURCE: %+v", b, r)
	}
}

// withNames adds SYSLOG to what is needed: then nothing lacks but what kprobes do
// not see.
func withNames(t *testing.T, bpffs string, b Backend) {
	t.Helper()
	r := asChild(t, bpffs, b, true, needs(t, b, unix.CAP_SYSLOG)...)
	said := strings.Join(r.Status.Degraded, "")
	if right := said == "" || b == Kprobe && strings.HasPrefix(said, "kprobes do not see") && len(r.Status.Degraded) == 1; r.Error != "" || !right {
		t.Errorf("%s with SYSLOG: %+v", b, r)
	}
}

// elsewhere has the child look where no pins are. Kprobes' SYS_ADMIN finds the
// maps all the same.
func elsewhere(t *testing.T, b Backend) {
	t.Helper()
	for bpffs, says := range map[string]string{"/nowhere": "grant SYS_ADMIN", "/sys/fs/bpf": "waiting for its agent"} {
		r := asChild(t, bpffs, b, true, needs(t, b)...)
		waits := r.Status.State == Waiting && strings.Contains(r.Status.Problem, says)
		if b == Kprobe && r.Status.State != Watching || b == Fentry && !waits {
			t.Errorf("%s with pins in %s: %+v", b, bpffs, r)
		}
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
