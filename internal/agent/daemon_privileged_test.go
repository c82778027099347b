// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/kprobes"
)

const (
	renatBinary = "/renat"      // in the test machine
	realBPFFS   = "/sys/fs/bpf" // as systemd mounts it: root's alone
	hubbleDir   = "/var/run/cilium"
	nobody      = 65534
	ciliumGroup = 1000
	daemonHTTP  = "http://127.0.0.1:9969"
)

// rights are those of a process.
type rights struct {
	user, group  uint32
	groups       []uint32
	capabilities []uintptr
}

// lockedMax is how much memory the agent may lock, in bytes: the kernel's own
// default.
const lockedMax = 64 << 10

// needed are the capabilities that the agent cannot do without on this kernel,
// and what it is hooked with: Linux before 5.11 asks for SYS_RESOURCE where the
// memory is limited, and Debian's perf, which places kprobes, for SYS_ADMIN.
func needed(t *testing.T) (capabilities []uintptr, b kprobes.Backend) {
	t.Helper()
	tracer, err := kprobes.New(kprobes.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	b = tracer.Status().Backend
	capabilities = []uintptr{unix.CAP_BPF, unix.CAP_PERFMON}
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	if version < 5<<16|11<<8 {
		capabilities = append(capabilities, unix.CAP_SYS_RESOURCE)
	}
	if b == kprobes.Kprobe {
		capabilities = append(capabilities, unix.CAP_SYS_ADMIN)
	}
	return capabilities, b
}

// daemon is renat agent as a process of its own.
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	state string
	ended chan struct{} // closed when it has

	mu  sync.Mutex // guards what follows
	log bytes.Buffer
}

// Write takes what the process logs.
func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(b)
}

func (d *daemon) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// startDaemon runs renat agent with these rights and no others.
func startDaemon(t *testing.T, r rights, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, state: filepath.Join(t.TempDir(), "state"), ended: make(chan struct{})}
	if err := os.Mkdir(d.state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(d.state, int(r.user), int(r.group)); err != nil {
		t.Fatal(err)
	}
	openFolders(t, d.state)
	d.cmd = exec.Command(renatBinary, append([]string{"agent", "--node-name", "node-a", "--state-dir", d.state}, args...)...)
	d.cmd.Stderr = d
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: r.user, Gid: r.group, Groups: r.groups}}
	if r.user != 0 {
		d.cmd.SysProcAttr.AmbientCaps = r.capabilities
	}
	if err := withBounds(r, d.cmd.Start); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait() // its exit code tells
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // unless it has ended
		<-d.ended
		if t.Failed() {
			t.Logf("%s logged:\n%s", d.cmd, d.logged())
		}
	})
	return d
}

// openFolders lets everybody into the folders that lead to a test's.
func openFolders(t *testing.T, path string) {
	t.Helper()
	for dir := filepath.Dir(path); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// withBounds runs start so that what it starts can have no other capabilities,
// root, too, who would get them all, and may lock little memory.
func withBounds(r rights, start func() error) error {
	before := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &before); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: lockedMax, Max: lockedMax}); err != nil {
		return err
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &before) }() // this process has SYS_RESOURCE
	keep := append([]uintptr{unix.CAP_SETUID, unix.CAP_SETGID}, r.capabilities...)
	if r.user == 0 {
		keep = r.capabilities
	}
	started := make(chan error, 1)
	go func() {
		// Capabilities are the thread's; it ends with this goroutine.
		runtime.LockOSThread()
		for c := range uintptr(unix.CAP_LAST_CAP + 1) {
			if slices.Contains(keep, c) {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				started <- err
				return
			}
		}
		started <- start()
	}()
	return <-started
}

// awaitEnd returns the process's exit code.
func (d *daemon) awaitEnd(limit time.Duration) int {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(limit):
		d.t.Fatalf("still running after %s", limit)
	}
	return d.cmd.ProcessState.ExitCode()
}

// get returns what the daemon's HTTP server says; code 0 while nothing answers.
func (d *daemon) get(path string) (body string, code int) {
	r, err := http.Get(daemonHTTP + path)
	if err != nil {
		return "", 0
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return "", 0
	}
	return string(b), r.StatusCode
}

func (d *daemon) status() *nodestatus.Status {
	d.t.Helper()
	var s nodestatus.Status
	body, _ := d.get("/v1/status")
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		d.t.Fatalf("%v: %s", err, body)
	}
	return &s
}

// awaitReadyz waits until /readyz says what is wanted.
func (d *daemon) awaitReadyz(what string, is func(body string, code int) bool) {
	d.t.Helper()
	var body string
	var code int
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		select {
		case <-d.ended:
			d.t.Fatalf("the agent ended: %s", d.logged())
		default:
		}
		if body, code = d.get("/readyz"); code != 0 && is(body, code) {
			d.t.Logf("%s: %d\n%s", what, code, body)
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s: after %s /readyz says %d %s", what, patience, code, body)
		}
	}
}

// startHubble serves where the Cilium agent does, for root and one group.
func startHubble(t *testing.T) *hubbletest.Server {
	t.Helper()
	if err := os.MkdirAll(hubbleDir, 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := hubbletest.New(hubbletest.Config{Listen: "unix://" + hubbleDir + "/hubble.sock", Capacity: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Stop()
		os.RemoveAll(hubbleDir)
	})
	if err := os.Chmod(hubbleDir+"/hubble.sock", 0o660); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(hubbleDir+"/hubble.sock", 0, ciliumGroup); err != nil {
		t.Fatal(err)
	}
	tr := traffic{t: t, hubble: h}
	tr.other(context.Background()) // two events make a ring that can be followed
	tr.other(context.Background())
	return h
}

// closeBPFFS gives bpffs the rights it has on a node.
func closeBPFFS(t *testing.T) {
	t.Helper()
	if err := os.Chmod(realBPFFS, 0o700); err != nil {
		t.Fatal(err)
	}
}

// readOnlyBPFFS mounts bpffs once more, as a pod should have it.
func readOnlyBPFFS(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(realBPFFS, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // the machine ends soon
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	return dir
}
