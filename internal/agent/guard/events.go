// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/kprobes"
)

// identityHost is Cilium's reserved identity of the node itself.
const identityHost = 1

// Flow takes a packet that Hubble saw: it tells of a connection, or of its end.
func (g *Guard) Flow(ev *correlator.Event) {
	if ev.Kind != correlator.KindFlow || ev.Flow.Xlated != [16]byte{} {
		return
	}
	tuple, pod, server := ev.Tuple, ev.Flow.Src, ev.Flow.Dst
	isReply := ev.Flow.Reason == correlator.ReasonReply
	switch ev.Flow.Point {
	case correlator.ToStack, correlator.ToNetwork:
		if isReply {
			return
		}
	case correlator.ToEndpoint:
		if !isReply {
			return
		}
		tuple, pod, server = tuple.Reverse(), server, pod
	default:
		return
	}
	if !g.guards(tuple.Protocol) || !g.config.Host && pod != nil && pod.Identity == identityHost {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.table.key(tuple)
	if ev.Flow.Flags&correlator.SYN != 0 {
		delete(g.table.all, k) // of an earlier connection, if there is one
		return
	}
	c := g.table.all[k]
	switch {
	case ev.Flow.Flags&(correlator.FIN|correlator.RST) != 0:
		switch {
		case c == nil:
		case c.guarded && (c.lost || isReply && ev.Flow.Flags&correlator.RST != 0):
			c.rest(time.Now()) // it may have broken: Knows is asked
		default:
			delete(g.table.all, k) // thousands a second on a busy node
		}
		g.table.closes(k, ev.Time)
		return
	case c != nil && !c.resting.IsZero():
		return
	case c == nil:
		if g.table.closed(k, ev.Time) {
			return // its last ACK
		}
		if c = g.admit(k, tuple, pod, server); c == nil {
			return
		}
		if len(g.fresh) < freshMax {
			g.fresh = append(g.fresh, c)
		}
	case c.heard == 0 && pod != nil:
		c.pod = pod
	}
	g.hear(c, ev.Time)
}

// guards reports whether connections of a protocol are guarded.
func (g *Guard) guards(p correlator.Protocol) bool {
	return p == correlator.TCP || g.config.UDP && (p == correlator.UDP || p == correlator.SCTP)
}

// admit takes a connection into the table if it is wanted.
func (g *Guard) admit(k key, tuple correlator.Tuple, pod, server *correlator.Peer) *connection {
	if g.config.Match != nil {
		i := incident.Incident{Protocol: tuple.Protocol.String(), Source: endpoint(tuple.Src, pod), Destination: endpoint(tuple.Dst, server)}
		if !g.config.Match(&i) {
			return nil
		}
	}
	return g.table.add(k, tuple, pod)
}

func endpoint(a correlator.Addr, p *correlator.Peer) incident.Endpoint {
	e := incident.Endpoint{IP: a.AddrPort().Addr(), Port: a.Port}
	if p != nil {
		e.Identity, e.Namespace, e.Pod, e.Workload, e.Labels, e.Names = p.Identity, p.Namespace, p.Pod, p.Workload, p.Labels, p.Names
	}
	return e
}

// hear notes a packet. A connection that speaks after more entries were evicted
// than the map holds would have lost its own: it was kept. What TCP acknowledges
// uses the entries of both directions.
func (g *Guard) hear(c *connection, at int64) {
	evicted := g.limits.evicted[c.v]
	if c.kept && c.heard != 0 && evicted > c.evicted+g.limits.usable[c.v] {
		g.status.Kept++
	}
	c.heard, c.evicted, c.spoke = max(c.heard, at), evicted, c.tuple.Protocol == correlator.TCP
}

// Change takes an operation on a map: an eviction of what is guarded is what
// must not be.
func (g *Guard) Change(ev *correlator.Event) {
	n := &ev.NAT
	if ev.Kind != correlator.KindNAT || n.Op == correlator.Insert || n.Op == correlator.Replaced || n.Map.CT {
		return
	}
	tuple := ev.Tuple
	if n.Dir == correlator.In {
		tuple = correlator.Tuple{Src: n.To, Dst: ev.Tuple.Src, Protocol: ev.Tuple.Protocol}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n.Op == correlator.Evict && n.Created != 0 {
		g.limits.noteAge(time.Duration(ev.Time-n.Created) < g.between)
	}
	c := g.table.all[g.table.key(tuple)]
	if c == nil {
		return
	}
	c.lost = true
	if n.Op != correlator.Evict || !c.kept || !c.resting.IsZero() {
		return
	}
	g.status.Lost++
	if n.Forced {
		g.forced++
	}
}

// Knows reports whether a connection, by the tuple of its pod's packets, was
// guarded, also if it broke within the last minute.
func (g *Guard) Knows(tuple correlator.Tuple) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.table.all[g.table.key(tuple)]
	return c != nil && c.guarded
}

// seed reads the connections of tracking maps that are new to it: those that
// live since before the start are silent until they speak. What a filter needs
// names for waits for its first flow.
func (g *Guard) seed(ctx context.Context, updates []kprobes.Updates) error {
	var isNAT [2]bool
	for _, u := range updates {
		isNAT[version(u.Map.IPv6())] = isNAT[version(u.Map.IPv6())] || !u.Map.CT && !u.Map.PerCluster()
	}
	for _, u := range updates {
		if !u.Map.CT || !isNAT[version(u.Map.IPv6())] || g.seeded[u.Map.ID] {
			continue
		}
		g.seeded[u.Map.ID] = true
		var failed error
		err := g.kernel.Tracked(ctx, u.Map.ID, func(tuple correlator.Tuple) {
			if err := g.sow(tuple); err != nil {
				failed = err
			}
		})
		if err := cmp.Or(err, failed); err != nil {
			return fmt.Errorf("reading which connections there are: %w", err)
		}
	}
	return nil
}

// sow takes a connection that is tracked, if it is translated.
func (g *Guard) sow(tuple correlator.Tuple) error {
	if !g.guards(tuple.Protocol) {
		return nil
	}
	to, found, err := g.kernel.Lookup(tuple, correlator.Out)
	if err != nil || !found || !g.config.Host && to.IP == tuple.Src.IP {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if k := g.table.key(tuple); g.table.all[k] == nil {
		g.admit(k, tuple, nil, nil)
	}
	return nil
}
