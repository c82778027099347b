// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// A limit on the size of files stands for a full disk: the server's writes
// fail, and later there is room again.
func TestWriteErrorNeedsRestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Config{Dir: dir})
	js := openStream(t, s)
	if err := s.Health(); err != nil {
		t.Errorf("Health of a new server = %v", err)
	}
	lift := limitFileSize(t, 64<<10)
	stored, err := fill(t, s, js)
	lift()
	if stored == 0 || err == nil {
		t.Fatalf("%d messages were stored, then %v", stored, err)
	}
	if err := s.Health(); err == nil || !strings.Contains(err.Error(), "file too large") {
		t.Errorf("Health after %v = %v", err, err)
	}
	if _, err := fill(t, s, js); err == nil {
		t.Error("the server recovers by itself: Health's contract is out of date")
	}

	s.Shutdown()
	s = start(t, embedded.Config{Dir: dir})
	js = openStream(t, s)
	info, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := info.CachedInfo().State.Msgs; got != uint64(stored) {
		t.Errorf("%d of %d stored messages came back", got, stored)
	}
	if _, err := js.Publish(t.Context(), "s", nil); err != nil || s.Health() != nil {
		t.Errorf("after the restart: %v, %v", err, s.Health())
	}
}

func openStream(t *testing.T, s *embedded.Server) natsjs.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateOrUpdateStream(t.Context(), natsjs.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	return js
}

// fill publishes until that fails, and returns how many messages were stored. A
// healthy server that does not answer in time is a busy machine's: it is asked again.
func fill(t *testing.T, s *embedded.Server, js natsjs.JetStream) (int, error) {
	t.Helper()
	for n := range 1000 {
		for id := fmt.Sprint(n, time.Now()); ; {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			_, err := js.Publish(ctx, "s", make([]byte, 1000), natsjs.WithMsgID(id))
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) || s.Health() != nil {
				return n, err
			}
		}
	}
	return 1000, nil
}

// limitFileSize makes writes beyond size fail in this process until the
// returned function is called.
func limitFileSize(t *testing.T, size uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	set := func(r syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			t.Error(err)
		}
	}
	set(syscall.Rlimit{Cur: size, Max: before.Max})
	return func() {
		set(before)
		signal.Reset(syscall.SIGXFSZ)
	}
}

// A server that gets no processor for a while is not sick: restarting it would
// cut off its clients.
func TestBusyMachineIsHealthy(t *testing.T) {
	s := start(t, embedded.Config{Dir: t.TempDir()})
	var done atomic.Bool
	var busy sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for !done.Load() {
			}
		})
	}
	for range 50_000 { // a few of them are interrupted at the wrong place
		if err := s.Health(); err != nil {
			t.Error(err)
			break
		}
	}
	done.Store(true)
	busy.Wait()
}
