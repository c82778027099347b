// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/nodestatus"
)

const (
	// hold and patience are how long an operation waits for flows that are
	// stamped before it; a flow that comes later is shown as it comes.
	hold     = 100 * time.Millisecond
	patience = time.Second
	// tick is how often lines are written.
	tick = 20 * time.Millisecond
	// waiting is how many events may wait for a slow reader; more are counted.
	waiting = 4096
	// maxPorts is how many SNAT ports are remembered for their flows; the oldest
	// goes.
	maxPorts = 512
)

// trace is one that runs.
type trace struct {
	hub   *Hub
	query Query
	in    chan correlator.Event
	heard atomic.Int64  // newest time of any flow
	lost  atomic.Uint64 // events that did not fit in

	pods   []correlator.Addr         // those that reach the server, at most one of each IP version; Run's alone
	last   []correlator.Event        // flows from before, until Run has written them
	lines  []nodestatus.TraceLine    // on their way
	mu     sync.Mutex                // guards what follows
	ports  map[correlator.Tuple]bool // replies' tuples: server to SNAT port
	learnt []correlator.Tuple        // ports by age, as a ring
	oldest int
}

// Run traces until ctx ends, and then returns nil; or until write fails. write
// gets at least one line each time; the first says what is traced.
func (h *Hub) Run(ctx context.Context, q Query, write func([]nodestatus.TraceLine) error) error {
	t := &trace{hub: h, query: q, in: make(chan correlator.Event, waiting), pods: q.Pods, ports: map[correlator.Tuple]bool{}}
	kernel, err := h.Trace(t.operation)
	if err != nil {
		return err
	}
	defer kernel.Close() // what fails is the tracer's end
	h.join(t)
	defer h.leave(t)
	if err := t.choose(kernel); err != nil {
		return err
	}
	for i := range t.last {
		t.add(&t.last[i])
	}
	t.last = nil
	order := correlator.NewOrder(hold, patience, waiting, t.add)
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-t.in:
			if t.meets(&ev) {
				if err := t.choose(kernel); err != nil {
					return err
				}
			}
			if ev.Kind != correlator.KindFlow || t.wants(&ev) {
				order.Add(&ev)
			}
		case <-ticks.C:
			order.Heard(t.heard.Load())
			order.Advance(h.Now())
			if n := t.lost.Swap(0); n > 0 {
				t.say("lost", n, "slow_reader")
			}
			if len(t.lines) == 0 {
				continue
			}
			if err := write(t.lines); err != nil {
				return err
			}
			t.lines = t.lines[:0]
		}
	}
}

// choose tells the kernel what to look for, and the reader.
func (t *trace) choose(kernel Kernel) error {
	all := t.query.selections(t.pods)
	for _, s := range all {
		if err := kernel.Select(s); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		t.say("waiting", 0, fmt.Sprintf("Hubble has not shown %s/%s on this node yet: its first flow tells its address", t.query.Namespace, t.query.Pod))
		return nil
	}
	t.say("tracing", 0, t.query.inWords(t.pods))
	return nil
}

func (q *Query) inWords(pods []correlator.Addr) string {
	var words []string
	if q.Pod != "" {
		words = append(words, q.Namespace+"/"+q.Pod)
	}
	for _, p := range pods {
		words = append(words, endInWords(p))
	}
	if !q.Server.IsZero() {
		words = append(words, "to "+endInWords(q.Server))
	}
	if q.Protocol != 0 {
		words = append(words, q.Protocol.String())
	}
	return strings.Join(words, " ")
}

func endInWords(a correlator.Addr) string {
	if a.Port == 0 {
		return a.AddrPort().Addr().String()
	}
	return a.String()
}

// say adds a line about the trace itself.
func (t *trace) say(what string, count uint64, note string) {
	t.lines = append(t.lines, nodestatus.TraceLine{
		Time: t.hub.Wall(time.Unix(0, t.hub.Now())), Node: t.hub.Node, From: nodestatus.FromRenat, What: what, Count: count, Note: note,
	})
}

// add puts an event into a line.
func (t *trace) add(ev *correlator.Event) {
	l := lineOf(ev)
	l.Time, l.Node = t.hub.Wall(time.Unix(0, ev.Time)), t.hub.Node
	t.lines = append(t.lines, l)
}

// operation takes what the kernel's trace emits.
func (t *trace) operation(ev correlator.Event) {
	was := ev.Time
	if ev.NAT.KTime != 0 {
		ev.Time = t.hub.OfKernel(ev.NAT.KTime)
	} else {
		ev.Time = t.hub.OfWall(ev.Time)
	}
	if ev.NAT.Created != 0 {
		ev.NAT.Created += ev.Time - was
	}
	t.learn(&ev)
	t.send(ev)
}

// learn remembers the SNAT port that an operation names: flows of it belong to
// the trace, though they name no pod.
func (t *trace) learn(ev *correlator.Event) {
	if ev.Kind != correlator.KindNAT || ev.NAT.Map.CT {
		return
	}
	reply := ev.Tuple
	if ev.NAT.Dir == correlator.Out {
		if ev.NAT.To.IsZero() {
			return
		}
		reply = correlator.Tuple{Src: ev.Tuple.Dst, Dst: ev.NAT.To, Protocol: ev.Tuple.Protocol}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ports[reply] {
		return
	}
	t.ports[reply] = true
	if len(t.learnt) < maxPorts {
		t.learnt = append(t.learnt, reply)
		return
	}
	delete(t.ports, t.learnt[t.oldest])
	t.learnt[t.oldest] = reply
	t.oldest = (t.oldest + 1) % maxPorts
}

// flow takes any of the agent's flows, with its losses. Of the pod's all go on:
// they tell its address.
func (t *trace) flow(ev *correlator.Event) {
	at := t.hub.OfWall(ev.Time)
	if ev.Kind == correlator.KindFlow {
		t.heard.Store(max(t.heard.Load(), at))
		if !t.wants(ev) && !t.query.isPods(ev.Flow.Src) && !t.query.isPods(ev.Flow.Dst) {
			return
		}
	}
	copied := *ev
	copied.Time = at
	t.send(copied)
}

func (t *trace) wants(ev *correlator.Event) bool {
	if t.query.wants(ev, t.query.Pods) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ports[ev.Tuple] || t.ports[ev.Tuple.Reverse()]
}

// past takes a flow from before the trace began, the newest first, and reports
// whether older ones are wanted.
func (t *trace) past(ev *correlator.Event) bool {
	named := t.query.Pod != "" && len(t.query.Pods) == 0
	if pod, found := t.podOf(ev); found && !slices.ContainsFunc(t.pods, sameVersion(pod)) {
		t.pods = append(t.pods, pod)
	}
	if len(t.last) < t.query.Last && t.query.wants(ev, t.query.Pods) {
		copied := *ev
		copied.Time = t.hub.OfWall(ev.Time)
		t.last = append(t.last, copied)
	}
	return len(t.last) < t.query.Last || named && len(t.pods) < 2
}

// meets learns the pod's address of a flow, and reports whether it is another.
func (t *trace) meets(ev *correlator.Event) bool {
	pod, found := t.podOf(ev)
	if !found || slices.Contains(t.pods, pod) {
		return false
	}
	t.pods = append(slices.DeleteFunc(t.pods, sameVersion(pod)), pod)
	return true
}

// podOf is the address in a flow of the pod that is asked for by name only.
func (t *trace) podOf(ev *correlator.Event) (pod correlator.Addr, found bool) {
	if ev.Kind != correlator.KindFlow || len(t.query.Pods) > 0 {
		return pod, false
	}
	switch {
	case t.query.isPods(ev.Flow.Src):
		pod = ev.Tuple.Src
	case t.query.isPods(ev.Flow.Dst):
		pod = ev.Tuple.Dst
	default:
		return pod, false
	}
	pod.Port = 0
	return pod, t.query.reaches(pod)
}

func sameVersion(a correlator.Addr) func(correlator.Addr) bool {
	return func(b correlator.Addr) bool { return is6(a) == is6(b) }
}

func (t *trace) send(ev correlator.Event) {
	select {
	case t.in <- ev:
	default:
		t.lost.Add(1)
	}
}
