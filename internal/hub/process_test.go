// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// processes are hubs, each a process of its own with a wire of its own to NATS,
// by process id.
type processes struct {
	nats    string
	env     []string
	running map[int]*exec.Cmd
	wires   map[int]*wire
}

func newProcesses(t *testing.T, url, config, lease string) *processes {
	p := &processes{
		nats:    strings.TrimPrefix(url, "nats://"),
		env:     append(os.Environ(), childConfig+"="+config, childLease+"="+lease),
		running: map[int]*exec.Cmd{}, wires: map[int]*wire{},
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
	w := newWire(t, p.nats)
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(slices.Clone(p.env), childURL+"=nats://"+w.Addr().String()), os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.running[cmd.Process.Pid], p.wires[cmd.Process.Pid] = cmd, w
}

// pause stops the process for d, as a machine that is suspended does.
func (p *processes) pause(t *testing.T, pid int, d time.Duration) {
	t.Helper()
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := p.running[pid].Process.Signal(s); err != nil {
			t.Error(err)
		}
		if s == syscall.SIGSTOP {
			time.Sleep(d)
		}
	}
}

// kill sends SIGKILL.
func (p *processes) kill(t *testing.T, pid int) {
	t.Helper()
	if err := p.running[pid].Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = p.running[pid].Wait() // says that it was killed
	p.wires[pid].Close()
	delete(p.running, pid)
}

// wire passes connections on to an address, but for the time it is cut: then
// what is sent arrives later, as in a network that loses packets.
type wire struct {
	net.Listener
	cut sync.RWMutex // held while it is
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return // it was closed
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			go w.pass(near, far)
			go w.pass(far, near)
		}
	}()
	return w
}

// pass copies until one end is closed.
func (w *wire) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.cut.RLock()
		_, err = to.Write(buf[:n])
		w.cut.RUnlock()
		if err != nil {
			return
		}
	}
}

// interrupt cuts the wire for d.
func (w *wire) interrupt(d time.Duration) {
	w.cut.Lock()
	defer w.cut.Unlock()
	time.Sleep(d)
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
