// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

// TestAtRest counts how often an agent wakes up on a node where nothing happens:
// each timer makes Go's scheduler do so five to seven times, and more on a busy
// machine. The NATS server in it, which looks at the clock ten times a second,
// rests after a while, if it is for the outbox alone.
func TestAtRest(t *testing.T) {
	for name, c := range map[string]struct {
		url     string
		wakeups float64 // a second, at most
	}{
		"with NATS elsewhere": {startHub(t).ClientURL(), 50},
		"with its own":        {"", 200},
	} {
		t.Run(name, func(t *testing.T) {
			server, address := newHubble(t, 1<<16), freeAddress(t)
			p := startProcess(t, childConfig{Hubble: server.Addr(), NATS: c.url, StateDir: t.TempDir(), Listen: address}, &journal{stored: map[string]bool{}})
			n := &node{t: t, traffic: traffic{t: t, hubble: server}, http: "http://" + address}
			eventually(t, "the agent answers", n.answers)
			n.other(t.Context())
			n.other(t.Context())
			eventually(t, "the agent is ready", func() bool { return strings.Count(n.get("/readyz"), ": ready\n") == 5 })
			wakeups := math.Inf(1)
			for deadline := time.Now().Add(2 * outbox.DefaultRestAfter); wakeups > c.wakeups && time.Now().Before(deadline); {
				const seconds = 5
				before := wakeupsOf(t, p.Process.Pid)
				time.Sleep(seconds * time.Second)
				wakeups = (wakeupsOf(t, p.Process.Pid) - before) / seconds
				t.Logf("%.0f wake-ups a second", wakeups)
			}
			if wakeups > c.wakeups {
				t.Errorf("it wakes up %.0f times a second, at most %.0f are promised", wakeups, c.wakeups)
			}
			if err := p.end(t, syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		})
	}
}

// wakeupsOf returns how often the threads that a process has now have waited for
// something, and got it.
func wakeupsOf(t *testing.T, pid int) (n float64) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads of process %d: %v", pid, err)
	}
	for _, status := range threads {
		n += number(t, readFile(t, status), "\nvoluntary_ctxt_switches:")
	}
	return n
}
