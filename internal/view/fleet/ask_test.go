// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

// slow answers after a time, or never.
type slow struct {
	Agent // for what is not asked
	name  string
	after time.Duration
}

func (s slow) Node() string { return s.name }

func (s slow) Get(ctx context.Context, _ string, _ url.Values) ([]byte, error) {
	if s.after < 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(s.after)
	return []byte(s.name), nil
}

// A thousand agents that take 100 ms, of which 50 never answer, are asked within
// three seconds, of a clock that only waiting moves.
func TestThousandAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var agents []Agent
		for i := range 1000 {
			a := slow{name: fmt.Sprintf("node-%d", i), after: 100 * time.Millisecond}
			if i%20 == 7 {
				a.after = -1
			}
			agents = append(agents, a)
		}
		start := time.Now()
		answers := ask(t.Context(), agents, 0, "", nil, func(b []byte) (string, error) { return string(b), nil })
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		names, silent, err := split(answers)
		if err != nil || len(names) != 950 || len(silent) != 50 || names[3] != "node-3" || silent[0].Why != "no answer within 1.5s" {
			t.Errorf("%d answers, %d silent, %v", len(names), len(silent), err)
		}
	})
}
