// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/sinks/jetstream"
)

// childVariable has the child's settings; its presence makes a process one.
const childVariable = "RENAT_TEST_AGENT"

type childConfig struct{ Hubble, NATS, StateDir, Listen string }

// TestMain lets the binary be an agent that a test can kill. It gets the
// kernel's events on stdin, and logs on stderr.
func TestMain(m *testing.M) {
	if raw := os.Getenv(childVariable); raw != "" {
		if err := child([]byte(raw)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(raw []byte) error {
	var c childConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	k := ringKernel{newFakeKernel()}
	agent.OneCore()
	if err := syscall.SetNonblock(0, true); err != nil {
		return err
	}
	var listener net.Listener
	if c.Listen != "" {
		var err error
		if listener, err = net.Listen("tcp", c.Listen); err != nil {
			return err
		}
	}
	return agent.Run(ctx, agent.Config{
		Node: "node-a", Cluster: "test", Version: "test", Kernel: k, StateDir: c.StateDir, Listener: listener, Settle: time.Second,
		Hubble: hubble.Config{Address: c.Hubble, MaxBackoff: 100 * time.Millisecond},
		NATS:   jetstream.Config{URL: c.NATS}, NATSListen: "127.0.0.1:0", Log: zerolog.New(os.Stderr).Level(zerolog.DebugLevel),
	})
}

// ringKernel has the kernel's events from stdin, and who reads them emits them, as
// in kprobes.
type ringKernel struct{ *fakeKernel }

func (ringKernel) Run(ctx context.Context, emit func(correlator.Event)) error {
	var mu sync.Mutex
	ended := false
	go readChanges(ring{}, func(all ...correlator.Event) {
		mu.Lock()
		defer mu.Unlock()
		for i := 0; i < len(all) && !ended; i++ {
			emit(all[i])
		}
	})
	<-ctx.Done()
	mu.Lock()
	defer mu.Unlock()
	ended = true
	return ctx.Err()
}

// ring reads stdin as kprobes reads the kernel's ring: by a clock while there is
// something to read, and without telling Go's scheduler, for which that is no
// system call.
type ring struct{}

func (ring) Read(b []byte) (int, error) {
	for empty := 0; ; empty++ {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch {
		case errno == syscall.EAGAIN && empty == 10:
			if _, err := unix.Poll([]unix.PollFd{{Events: unix.POLLIN}}, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return 0, err
			}
			empty = 0
		case errno == syscall.EAGAIN:
			const pause = 10 * time.Millisecond
			time.Sleep(pause - time.Duration(time.Now().UnixNano())%pause)
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

// process is an agent that can be killed.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	logged chan struct{} // closed when its log has ended
}

// journal is what agents said to have stored.
type journal struct {
	mu     sync.Mutex
	stored map[string]bool
}

func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.stored)
}

func (j *journal) read(log io.Reader) {
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var line struct{ Message, ID string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "stored an incident" {
			j.mu.Lock()
			j.stored[line.ID] = true
			j.mu.Unlock()
		}
	}
}

func startProcess(t testing.TB, c childConfig, j *journal) *process {
	t.Helper()
	settings, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0]), logged: make(chan struct{})}
	p.Env = append(os.Environ(), childVariable+"="+string(settings))
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	go func() {
		defer close(p.logged)
		j.read(stderr)
	}()
	return p
}

// end waits for the process, having sent it a signal.
func (p *process) end(t testing.TB, s os.Signal) error {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	<-p.logged
	return p.Wait()
}

// TestKilledAnywhere kills the agent at random points of its life, beginning with
// its start, while connections break all the time: at 100 points, fewer on a
// machine that has no time for them.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	const kills, enough = 100, 100
	start := time.Now()
	h, server := startHub(t), newHubble(t, 1<<11) // each agent begins with what it holds
	j := &journal{stored: map[string]bool{}}
	c := childConfig{Hubble: server.Addr(), NATS: h.ClientURL(), StateDir: t.TempDir()}
	var mu sync.Mutex // guards p, which is nil while none runs
	var p *process
	tr := traffic{t: t, hubble: server, changes: func(changes ...correlator.Event) {
		mu.Lock()
		defer mu.Unlock()
		if p != nil {
			_ = p.change(changes...) // as lost as the kernel's events would be
		}
	}}
	set := func(next *process) {
		mu.Lock()
		defer mu.Unlock()
		p = next
	}
	broken := 0
	var life atomic.Int64 // how long an agent lives at most, in nanoseconds
	life.Store(int64(400 * time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	var breaking sync.WaitGroup
	breaking.Go(func() {
		for ; ctx.Err() == nil; broken++ {
			tr.open(ctx, broken)
			if broken >= 20 {
				tr.sever(ctx, broken-20)
			}
			time.Sleep(time.Duration(life.Load() / 100)) // on a busy machine an agent can take fewer
		}
	})
	killed, early := 0, 0
	for ; early < enough && life.Load() < int64(patience) || killed < kills && time.Since(start) < 3*patience; killed++ {
		next := startProcess(t, c, j)
		set(next)
		time.Sleep(time.Duration(rand.N(life.Load())))
		set(nil)
		if err := next.end(t, syscall.SIGKILL); err == nil {
			t.Fatal("the process ended before it was killed")
		}
		// So that every fourth or so stores something, on any machine.
		if count := j.count(); count > early {
			early = count
			life.Store(life.Load() / 2)
		} else {
			life.Store(life.Load() * 5 / 4)
		}
	}
	c.Listen = freeAddress(t)
	last := startProcess(t, c, j)
	set(last)
	n := &node{t: t, http: "http://" + c.Listen}
	eventually(t, "the last agent answers", n.answers)
	eventually(t, "the last agent names what breaks", func() bool { return n.status().Outbox.Forwarded > 0 })
	cancel()
	breaking.Wait()
	set(nil)
	n.awaitEmpty()
	began := time.Now()
	if err := last.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("the last agent: %v", err)
	}
	if took := time.Since(began); took > patience { // 5 s, but for a busy machine
		t.Errorf("it took %v to end", took)
	}
	check(t, h, j, broken)
	t.Logf("%d kills, the last within %v, %d incidents stored before", killed, time.Duration(life.Load()), early)
	if early < enough {
		t.Errorf("only %d were stored by agents that were killed: the test says little", early)
	}
}

// check wants all that was stored once in NATS, and nothing that did not break.
func check(t *testing.T, h *hub, j *journal, broken int) {
	t.Helper()
	times, pods := map[string]int{}, map[string]int{}
	for pod, all := range stored(t, h.ClientURL()) {
		for _, i := range all {
			times[i.ID]++
		}
		pods[pod.String()] = len(all)
	}
	for id := range j.stored {
		if times[id] != 1 {
			t.Errorf("incident %s was stored, and is in NATS %d times", id, times[id])
		}
	}
	for n := range broken {
		pod := connectionOf(n).pod.String()
		if pods[pod] > 1 {
			t.Errorf("connection %d is named %d times", n, pods[pod])
		}
		delete(pods, pod)
	}
	if len(pods) > 0 {
		t.Errorf("named without being broken: %v", pods)
	}
	t.Logf("%d connections, %d incidents in NATS", broken, len(times))
}

func newHubble(t testing.TB, capacity int) *hubbletest.Server {
	t.Helper()
	s, err := hubbletest.New(hubbletest.Config{Capacity: capacity})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}
