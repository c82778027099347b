// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"slices"
	"sync"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/kprobes"
)

// Config is what New needs.
type Config struct {
	Node string
	// Trace begins a trace in the kernel, as kprobes.Tracer's does.
	Trace func(emit func(correlator.Event)) (Kernel, error)
	// The agent's clock: event times of the kernel and of Hubble in one time,
	// and back to what the wall clock showed.
	OfKernel func(ktime uint64) int64
	OfWall   func(wall int64) int64
	Now      func() int64
	Wall     func(time.Time) time.Time
}

// Kernel is a trace in the kernel: a *kprobes.Trace.
type Kernel interface {
	Select(kprobes.Selection) error
	Close() error
}

// Hub hands the agent's flows to the traces that run.
type Hub struct {
	Config

	mu     sync.Mutex // guards what follows
	traces map[*trace]bool
	recent []correlator.Event // flows that came last, as a ring
	next   int
}

// remembered is how many flows are kept for those who ask for the last ones,
// some 200 bytes each.
const remembered = 8192

// New returns a Hub.
func New(c Config) *Hub { return &Hub{Config: c, traces: map[*trace]bool{}} }

// Flow takes what Hubble's client emits.
func (h *Hub) Flow(ev *correlator.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ev.Kind == correlator.KindFlow {
		if len(h.recent) < remembered {
			h.recent = append(h.recent, *ev)
		} else {
			h.recent[h.next] = *ev
			h.next = (h.next + 1) % remembered
		}
	}
	for t := range h.traces {
		t.flow(ev)
	}
}

// join adds a trace, which is told of the flows that are remembered first, as far
// back as it wants: new ones wait meanwhile.
func (h *Hub) join(t *trace) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.recent) - 1; i >= 0 && t.past(&h.recent[(h.next+i)%len(h.recent)]); i-- {
	}
	slices.Reverse(t.last)
	h.traces[t] = true
}

func (h *Hub) leave(t *trace) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.traces, t)
}
