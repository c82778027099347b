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
)

// restWakeups is how often a second the threads of an agent may wake up that has
// nothing to do. The NATS server in it looks at the clock ten times a second, each
// of which Go's scheduler makes five to seven of, and more on a busy machine.
const restWakeups = 200

// TestAtRest counts how often an agent wakes up on a node where nothing happens.
func TestAtRest(t *testing.T) {
	for name, url := range map[string]string{"with NATS elsewhere": startHub(t).ClientURL(), "with its own": ""} {
		t.Run(name, func(t *testing.T) {
			server, address := newHubble(t, 1<<16), freeAddress(t)
			p := startProcess(t, childConfig{Hubble: server.Addr(), NATS: url, StateDir: t.TempDir(), Listen: address}, &journal{stored: map[string]bool{}})
			n := &node{t: t, traffic: traffic{t: t, hubble: server}, http: "http://" + address}
			eventually(t, "the agent answers", n.answers)
			n.other(t.Context())
			n.other(t.Context())
			eventually(t, "the agent is ready", func() bool { return strings.Count(n.get("/readyz"), ": ready\n") == 4 })
			time.Sleep(5 * time.Second) // what the start left is done
			least := math.Inf(1)
			for range 3 {
				const seconds = 2
				before := wakeupsOf(t, p.Process.Pid)
				time.Sleep(seconds * time.Second)
				least = min(least, (wakeupsOf(t, p.Process.Pid)-before)/seconds)
			}
			t.Logf("%.0f wake-ups a second", least)
			if least > restWakeups {
				t.Errorf("it wakes up %.0f times a second, at most %d are promised", least, restWakeups)
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
