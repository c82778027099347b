// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/cilium/api/v1/flow"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/internal/agent/tracing"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/kprobes"
)

// fakeTraces are traces in no kernel: there may be one.
type fakeTraces struct {
	mu     sync.Mutex
	emit   func(correlator.Event) // of the one that runs
	chosen []kprobes.Selection
}

func (f *fakeTraces) begin(emit func(correlator.Event)) (tracing.Kernel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.emit != nil {
		return nil, kprobes.ErrTraces
	}
	f.emit = emit
	return f, nil
}

func (f *fakeTraces) Select(s kprobes.Selection) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chosen = append(f.chosen, s)
	return nil
}

func (f *fakeTraces) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.emit = nil
	return nil
}

func (f *fakeTraces) running() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.emit != nil
}

// TestTrace follows a pod by its name, from Hubble's first flow to the eviction
// of its entry, and ends when who asked goes.
func TestTrace(t *testing.T) {
	t.Parallel()
	f := &fakeTraces{}
	n := startNode(t, func(c *agent.Config) { c.Trace = f.begin })
	n.awaitReady()
	c := connectionOf(1)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.http+"/v1/trace?pod=shop/cart-1&to="+c.server.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req) //nolint:bodyclose // it is, below
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != "application/x-ndjson" {
		t.Fatalf("%s, %s", res.Status, got)
	}
	for path, want := range map[string]string{
		"/v1/trace": "nothing chosen", "/v1/trace?pod=cart": "not namespace/name", "/v1/trace?pod=shop/cart-1": "traces run already",
	} {
		if got := n.get(path); !strings.Contains(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}

	lines := make(chan nodestatus.TraceLine, 64)
	read := make(chan error, 1)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(res.Body)
		for s.Scan() {
			var l nodestatus.TraceLine
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				read <- err
				return
			}
			lines <- l
		}
		read <- s.Err()
	}()
	var said []string
	next := func(want string) {
		t.Helper()
		l := <-lines
		for ; l.From == nodestatus.FromRenat; l = <-lines {
			said = append(said, l.What+" "+l.Note)
		}
		if got := strings.TrimSpace(l.From + " " + l.What + " " + l.Flags); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	n.feed(t.Context(), c.pod, c.server, flow.TraceObservationPoint_TO_STACK, &flow.TCPFlags{ACK: true})
	elsewhere := connectionOf(40_000).server
	goOn := func() { // Hubble withholds its newest event
		n.feed(t.Context(), c.pod, elsewhere, flow.TraceObservationPoint_TO_STACK, &flow.TCPFlags{ACK: true})
	}
	goOn()
	next("hubble to-stack ACK")
	if want := "tracing shop/cart-1 " + c.pod.Addr().String() + " to " + c.server.String(); !slices.Contains(said, want) {
		t.Errorf("it said %q, want %q", said, want)
	}
	f.emit(change(correlator.Evict, correlator.Out, c.pod, c.server, c.before))
	goOn()
	next("kernel evict")
	leave()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("the answer ended with %v", err)
	}
	eventually(t, "the trace has ended", func() bool { return !f.running() })
	if last := f.chosen[len(f.chosen)-1]; last.Pod.AddrPort().Addr() != c.pod.Addr() || last.Server != correlator.AddrOf(c.server) {
		t.Errorf("the kernel was told %+v", last)
	}
}
