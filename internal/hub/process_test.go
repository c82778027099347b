// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// processes are hubs, each a process of its own, by process id.
type processes struct {
	env     []string
	running map[int]*exec.Cmd
}

func newProcesses(t *testing.T, url, config, lease string) *processes {
	p := &processes{
		env:     append(os.Environ(), childURL+"="+url, childConfig+"="+config, childLease+"="+lease),
		running: map[int]*exec.Cmd{},
	}
	t.Cleanup(func() {
		for pid := range p.running {
			p.kill(t, pid)
		}
	})
	return p
}

func (p *processes) spawn(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = p.env, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.running[cmd.Process.Pid] = cmd
}

// kill sends SIGKILL.
func (p *processes) kill(t *testing.T, pid int) {
	t.Helper()
	if err := p.running[pid].Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = p.running[pid].Wait() // says that it was killed
	delete(p.running, pid)
}

// With the lease that hubs have by default, an incident that the killed hub
// held, and one that came meanwhile, are told of within 15 seconds.
func TestTakeoverTime(t *testing.T) {
	t.Parallel()
	url := startNATS(t, &natsserver.Options{}).ClientURL()
	nc := connect(t, url)
	r := newReceiver(t)
	path := filepath.Join(t.TempDir(), "hub.yaml")
	if err := os.WriteFile(path, []byte("receivers:\n"+r.yaml("ops", "group_wait: 1s")), 0o600); err != nil {
		t.Fatal(err)
	}
	hubs := newProcesses(t, url, path, "0s")
	hubs.spawn(t)
	pid := 0
	eventually(t, 10*time.Second, "the first hub", func() bool { pid = leader(t, nc); return pid != 0 && unacknowledged(t, nc, "ops") >= 0 })
	hubs.spawn(t)
	time.Sleep(2500 * time.Millisecond) // a lease just renewed is the slowest case
	publish(t, nc, sample(1, 1))
	time.Sleep(200 * time.Millisecond)
	hubs.kill(t, pid)
	began := time.Now()
	publish(t, nc, sample(2, 2))
	eventually(t, 15*time.Second, "the second hub to notify", func() bool { return r.count() == 2 })
	t.Logf("notified %s after kill -9, of which 1 s is group_wait", time.Since(began).Round(time.Millisecond))
}
