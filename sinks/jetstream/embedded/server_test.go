// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

func start(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	c.Log = zerolog.Nop()
	s, err := embedded.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// refuse starts a server that must not start, and returns why it did not.
func refuse(t *testing.T, c embedded.Config) error {
	t.Helper()
	c.Log = zerolog.Nop()
	s, err := embedded.Start(t.Context(), c)
	if err == nil {
		s.Shutdown()
		t.Fatal("the server started")
	}
	return err
}

func TestInProcessOnlyHasNoSocket(t *testing.T) {
	s := start(t, embedded.Config{Dir: filepath.Join(t.TempDir(), "made", "anew")})
	if u := s.ClientURL(); u != "" {
		t.Errorf("ClientURL() = %q without a listen address", u)
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestListen(t *testing.T) {
	s := start(t, embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatalf("connecting to %q: %v", s.ClientURL(), err)
	}
	nc.Close()
}

func TestDirectoryIsHeldByOne(t *testing.T) {
	dir := t.TempDir()
	first := start(t, embedded.Config{Dir: dir})
	err := refuse(t, embedded.Config{Dir: dir})
	if !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second server on %s: %v", dir, err)
	}
	first.Shutdown()
	start(t, embedded.Config{Dir: dir})
}

func TestStartErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	spoiled := t.TempDir()
	if err := os.WriteFile(filepath.Join(spoiled, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()

	for name, c := range map[string]struct {
		config embedded.Config
		wants  []string
	}{
		"no directory":       {embedded.Config{}, []string{"give it a state directory"}},
		"file as directory":  {embedded.Config{Dir: file}, []string{file, "choose another"}},
		"below a file":       {embedded.Config{Dir: filepath.Join(file, "x")}, []string{file, "choose another"}},
		"store is a file":    {embedded.Config{Dir: spoiled}, []string{spoiled, "not a directory"}},
		"port in use":        {embedded.Config{Dir: t.TempDir(), Listen: taken}, []string{"nothing else listens on " + taken, "address already in use"}},
		"no port":            {embedded.Config{Dir: dir, Listen: "127.0.0.1"}, []string{`"127.0.0.1"`, "host:port"}},
		"port too large":     {embedded.Config{Dir: dir, Listen: "127.0.0.1:70000"}, []string{"0 to 65535"}},
		"address of another": {embedded.Config{Dir: t.TempDir(), Listen: "192.0.2.1:4222"}, []string{"192.0.2.1:4222"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := refuse(t, c.config)
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
	// What failed to start must have let go of its directory.
	start(t, embedded.Config{Dir: dir})
}

func TestCancelledStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	s, err := embedded.Start(ctx, embedded.Config{Dir: dir, Log: zerolog.Nop()})
	if err == nil {
		s.Shutdown() // it was faster than the context
	} else if !errors.Is(err, context.Canceled) {
		t.Fatalf("Start = %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		s, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Log: zerolog.Nop()})
		if err == nil {
			s.Shutdown()
			return
		}
		if !errors.Is(err, embedded.ErrInUse) || time.Now().After(deadline) {
			t.Fatalf("starting again: %v", err)
		}
	}
}

func TestShutdownLeavesNoGoroutine(t *testing.T) {
	s := start(t, embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	s.Shutdown()
	s.Shutdown()
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "server.(*Server)") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", stacks)
		}
	}
}
