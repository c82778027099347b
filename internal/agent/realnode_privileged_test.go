// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/nats-io/nats.go"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream"
)

// heldKernel is a kernel whose events are read no further while hold is locked.
type heldKernel struct {
	*kprobes.Tracer
	hold sync.Mutex
}

func (k *heldKernel) Run(ctx context.Context, emit func(correlator.Event)) error {
	return k.Tracer.Run(ctx, func(ev correlator.Event) {
		k.hold.Lock()
		defer k.hold.Unlock()
		emit(ev)
	})
}

// realNode is a node whose map operations are the kernel's.
type realNode struct {
	*node
	tracer *heldKernel
	bpffs  string
	nat    *ciliumMap
	nc     *nats.Conn
	next   int // the first connection that was not made yet
}

// startRealNode starts an agent with a tracer and waits until it is ready.
func startRealNode(t *testing.T, c kprobes.Config, more ...func(*agent.Config)) *realNode {
	t.Helper()
	n := &realNode{bpffs: filepath.Join("/sys/fs/bpf", t.Name())}
	if err := os.Mkdir(n.bpffs, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(n.bpffs) })
	c.BPFFS = n.bpffs
	tracer, err := kprobes.New(c)
	if err != nil {
		t.Fatal(err)
	}
	n.tracer = &heldKernel{Tracer: tracer}
	n.nat = newCiliumMap(t, n.bpffs, tracer.Status().Backend)
	t.Cleanup(func() {
		if err := n.tracer.Close(); err != nil {
			t.Error(err)
		}
	})
	n.node = startNode(t, func(c *agent.Config) {
		c.Kernel = n.tracer
		for _, change := range more {
			change(c)
		}
	})
	n.changes = func(events ...correlator.Event) { n.nat.do(events...) }
	n.nc = connect(t, n.config.NATS.URL)
	n.awaitReady()
	return n
}

// begin makes established connections and returns the first one's number.
func (n *realNode) begin(count int) (first int) {
	first = n.next
	for n.next < first+count {
		n.nat.admit(connectionOf(n.next))
		n.open(n.t.Context(), n.next)
		n.next++
	}
	time.Sleep(50 * time.Millisecond) // more than the agent reorders
	return first
}

// lose evicts a connection's entry, rename gives it another port, and reset
// shows its RST: sever in three.
func (n *realNode) lose(c int) {
	at := connectionOf(c)
	n.nat.do(change(correlator.Evict, correlator.Out, at.pod, at.server, at.before))
}

func (n *realNode) rename(c int) {
	at := connectionOf(c)
	n.nat.do(change(correlator.Insert, correlator.In, at.server, at.after, at.pod),
		change(correlator.Insert, correlator.Out, at.pod, at.server, at.after))
}

func (n *realNode) reset(c int) {
	at := connectionOf(c)
	n.feed(n.t.Context(), at.server, at.pod, flow.TraceObservationPoint_TO_ENDPOINT, &flow.TCPFlags{RST: true})
}

// acknowledge shows a packet of the pod.
func (n *realNode) acknowledge(c int) {
	at := connectionOf(c)
	n.feed(n.t.Context(), at.pod, at.server, flow.TraceObservationPoint_TO_STACK, &flow.TCPFlags{ACK: true})
}

// named returns the incidents in NATS by connection, of which each may have
// one: an eviction, and its RST seen.
func (n *realNode) named() map[int]*incident.Incident {
	n.t.Helper()
	number := map[netip.AddrPort]int{}
	for c := range n.next {
		number[connectionOf(c).pod] = c
	}
	named := map[int]*incident.Incident{}
	err := jetstream.Read(n.t.Context(), n.nc, jetstream.ReadOptions{}, func(s jetstream.Stored) error {
		i := s.Incident
		c, ok := number[i.Source.AddrPort()]
		if !ok || named[c] != nil || i.Outcome != incident.Reset || i.Cause != incident.LRUEviction {
			n.t.Errorf("not a broken connection, or the second time: %+v", i)
		}
		named[c] = i
		return nil
	})
	if err != nil && !errors.Is(err, jetstream.ErrNoStream) {
		n.t.Fatal(err)
	}
	return named
}

// awaitNamed waits until all these connections are, and returns named.
func (n *realNode) awaitNamed(connections ...int) (named map[int]*incident.Incident) {
	n.t.Helper()
	n.other(n.t.Context()) // Hubble withholds its newest event
	eventually(n.t, "the connections are named", func() bool {
		time.Sleep(100 * time.Millisecond)
		named = n.named()
		for _, c := range connections {
			if named[c] == nil {
				return false
			}
		}
		return true
	})
	return named
}
