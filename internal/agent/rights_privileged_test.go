// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

// TestPrivilegedAgentProcess follows renat agent, as nobody with the
// capabilities the documentation lists, from a node without Cilium to its end
// under load.
func TestPrivilegedAgentProcess(t *testing.T) {
	closeBPFFS(t)
	capabilities, backend := needed(t)
	d := startDaemon(t, rights{
		user: nobody, group: nobody, groups: []uint32{ciliumGroup},
		capabilities: append(capabilities, unix.CAP_DAC_READ_SEARCH, unix.CAP_SYSLOG),
	})
	d.awaitReadyz("before Cilium", func(body string, code int) bool {
		return code == http.StatusServiceUnavailable && strings.Contains(body, "hubble.sock: connect: no such file") &&
			strings.HasPrefix(body, "kernel: not ready: Cilium has no NAT map on this node") &&
			strings.HasSuffix(body, "tracking: ready\noutbox: ready\nnats: ready\n")
	})
	m := newCiliumMap(t, realBPFFS, backend)
	d.awaitReadyz("with maps", func(body string, code int) bool {
		return code == http.StatusServiceUnavailable && strings.HasPrefix(body, "kernel: ready\n")
	})
	tr := &traffic{t: t, hubble: startHubble(t), changes: func(events ...correlator.Event) { m.do(events...) }}
	d.awaitReadyz("with Hubble", func(_ string, code int) bool { return code == http.StatusOK })
	if degraded := strings.Join(d.status().Kernel.Degraded, "; "); degraded != unseen[backend] {
		t.Errorf("degraded: %q", degraded)
	}

	stopLoad := load(t, tr, m)
	defer stopLoad()
	eventually(t, "the agent names connections", func() bool { return d.status().Incidents.Total >= 50 })
	for _, path := range []string{"/v1/status", "/metrics"} {
		body, _ := d.get(path)
		t.Logf("%s under load: %s", path, body)
	}
	before, begin := d.status().Incidents.Total, time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// 5 s on a machine that is not emulated, see TestEndDrains.
	if code := d.awaitEnd(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("ended %s after SIGTERM, with %d incidents found before it", time.Since(begin), before)
	broken := stopLoad()

	wantOnDisk(t, d.state, before, broken)
}

// unseen is what the agent says that it does not see, by what it is hooked with.
var unseen = map[kprobes.Backend]string{
	kprobes.Kprobe: "kprobes do not see what bpf(2) inserts, nor what that evicts, nor the values of what it deletes: tracking entries that a process deletes alive go unseen",
}

// wantOnDisk wants at least so many incidents in an agent's outbox, each of
// another one of the connections from 0 to before broken.
func wantOnDisk(t *testing.T, state string, atLeast uint64, broken int) {
	t.Helper()
	box, err := outbox.Open(t.Context(), outbox.Config{Dir: state})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	found, err := box.Recent(t.Context(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	if uint64(len(found)) < atLeast {
		t.Errorf("%d are on disk, %d were found", len(found), atLeast)
	}
	want := map[netip.AddrPort]bool{}
	for c := range broken {
		want[connectionOf(c).pod] = true
	}
	for _, i := range found {
		if pod := i.Source.AddrPort(); !want[pod] {
			t.Errorf("%s was named twice, or without being broken", pod)
		}
		delete(want, i.Source.AddrPort())
	}
}

// load breaks connections until stop is called, which tells how many.
func load(t *testing.T, tr *traffic, m *ciliumMap) (stop func() int) {
	enough, ended := make(chan struct{}), make(chan struct{})
	broken := 0
	go func() {
		defer close(ended)
		const batch = 5
		for ; ; broken += batch {
			select {
			case <-enough:
				return
			default:
			}
			for c := range batch {
				m.admit(connectionOf(broken + c))
				tr.open(t.Context(), broken+c)
			}
			time.Sleep(50 * time.Millisecond) // more than the agent reorders
			for c := range batch {
				tr.sever(t.Context(), broken+c)
			}
		}
	}()
	return sync.OnceValue(func() int {
		close(enough)
		<-ended
		return broken
	})
}

// TestPrivilegedAgentCapabilities takes the agent's rights away, and wants to
// be told which.
func TestPrivilegedAgentCapabilities(t *testing.T) {
	closeBPFFS(t)
	enough, backend := needed(t)
	newCiliumMap(t, realBPFFS, backend)
	startHubble(t)
	has := func(words ...string) func(string, int) bool {
		return func(body string, _ int) bool {
			for _, w := range words {
				if !strings.Contains(body, w) {
					return false
				}
			}
			return true
		}
	}
	group := []uint32{ciliumGroup}
	with := func(more ...uintptr) []uintptr { return append(slices.Clone(enough), more...) }
	without := func(c uintptr) []uintptr {
		return slices.DeleteFunc(with(), func(other uintptr) bool { return other == c || other == unix.CAP_SYS_ADMIN })
	}
	t.Run("root with what is needed", func(t *testing.T) {
		d := startDaemon(t, rights{capabilities: enough}, "--bpffs", readOnlyBPFFS(t))
		d.awaitReadyz("ready", func(_ string, code int) bool { return code == http.StatusOK })
		degraded := d.status().Kernel.Degraded
		if len(degraded) == 0 || !strings.Contains(degraded[0], "SYSLOG") || strings.Join(degraded[1:], "; ") != unseen[backend] {
			t.Errorf("degraded: %q", degraded)
		}
	})
	t.Run("without DAC_READ_SEARCH", func(t *testing.T) {
		d := startDaemon(t, rights{user: nobody, group: nobody, groups: group, capabilities: enough})
		if backend == kprobes.Kprobe { // tracefs is root's, too
			if code := d.awaitEnd(patience); code != 1 || !strings.Contains(d.logged(), "permission denied") {
				t.Errorf("exit code %d: %s", code, d.logged())
			}
			return
		}
		d.awaitReadyz("not ready", has("kernel: not ready: looking for Cilium's maps", "DAC_READ_SEARCH", "\nhubble: ready\n"))
	})
	t.Run("without the group", func(t *testing.T) {
		d := startDaemon(t, rights{user: nobody, group: nobody, capabilities: with(unix.CAP_DAC_READ_SEARCH)})
		d.awaitReadyz("not ready", has("kernel: ready\n", "hubble: not ready: ", "permission denied", "the group cilium"))
	})
	type refusal struct {
		name         string
		capabilities []uintptr
		args         []string
		says         string
	}
	refusals := []refusal{
		{"without BPF", without(unix.CAP_BPF), nil, "this process lacks BPF"},
		{"without PERFMON", without(unix.CAP_PERFMON), nil, "this process lacks PERFMON"},
		{"without a state directory", with(unix.CAP_DAC_READ_SEARCH), []string{"--state-dir", "/etc/renat"}, "create the state directory /etc/renat, or choose another"},
	}
	for c, name := range map[uintptr]string{unix.CAP_SYS_RESOURCE: "SYS_RESOURCE", unix.CAP_SYS_ADMIN: "SYS_ADMIN"} {
		if slices.Contains(enough, c) {
			refusals = append(refusals, refusal{"without " + name, without(c), nil, "this process lacks " + name})
		}
	}
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			d := startDaemon(t, rights{user: nobody, group: nobody, capabilities: c.capabilities}, c.args...)
			if code := d.awaitEnd(patience); code != 1 || !strings.Contains(d.logged(), c.says) {
				t.Errorf("exit code %d: %s", code, d.logged())
			}
			t.Logf("%s", d.logged())
		})
	}
}
