// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"cmp"
	"slices"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// no_port: connections could not be opened, because no source port was free for
// one more to their server.
//
//   - The deciding event is Hubble's: the packet that would have opened a
//     connection was dropped for want of a mapping. Of TCP that is a SYN; of
//     others, the packet of a connection that was never translated.
//   - Whom it refuses is chance: what counts is the server. All refusals to it
//     within a minute of the first are one incident, published when the minute
//     and the settle time are over.
//   - A connection whose retry was answered was not refused after all. If none is
//     left, nothing is said.
//   - A packet that does not open its connection is no refusal: that connection
//     had lost its mapping before.
//
// The scenarios are testdata/noport*.txtar and testdata/harmless_*exhaustion*.txtar.
type noPort struct {
	open  map[server][]*refusals // the last goes on, those before settle
	order []*refusals            // by their beginning
	past  map[server]run
}

type server struct {
	addr     Addr
	protocol Protocol
}

// run is how long refusals go on.
type run struct{ since, last int64 }

// refusals are those to one server within a minute.
type refusals struct {
	to server
	at int64 // the first
	run
	reason      uint16
	first       Addr
	src, dst    *Peer
	connections map[Addr]*Peer // nil: Hubble did not name the pod
	more        int            // beyond maxRefused
}

const (
	refusalWindow = int64(time.Minute)
	// maxRefusing is how many servers refusals are counted for at a time, maxRefused
	// how many connections of one are told apart.
	maxRefusing = 1024
	maxRefused  = 1 << 14
	// maxRefusedPods is how many pods an incident names.
	maxRefusedPods = 5

	noMapping = 167 // Cilium's drop reason DROP_NAT_NO_MAPPING
)

// refused takes a dropped packet of a pod.
func (c *Correlator) refused(ev *Event) {
	if ev.Flow.DropReason != noMapping {
		return
	}
	if ev.Tuple.Protocol == TCP && ev.Flow.Flags&(SYN|ACK) != SYN {
		return
	}
	if r := c.table.lookup(&ev.Tuple); r != 0 && ev.Tuple.Protocol != TCP && !c.table.at(r).snat.IsZero() {
		return
	}
	to := server{ev.Tuple.Dst, ev.Tuple.Protocol}
	f := c.refusalsAt(to, ev)
	f.last = ev.Time
	if _, known := f.connections[ev.Tuple.Src]; known || len(f.connections) < maxRefused {
		f.connections[ev.Tuple.Src] = ev.Flow.Src
	} else {
		f.more++
	}
}

// refusalsAt returns those of the minute that a refusal belongs to.
func (c *Correlator) refusalsAt(to server, ev *Event) *refusals {
	n := &c.noPort
	before := n.past[to]
	if open := n.open[to]; len(open) > 0 {
		f := open[len(open)-1]
		if ev.Time-f.at < refusalWindow {
			return f
		}
		before = f.run
	}
	if len(n.order) >= maxRefusing {
		c.stats.SuspectsForgotten++
		c.publishRefusals()
	}
	f := &refusals{
		to: to, at: ev.Time, run: run{since: ev.Time}, reason: ev.Flow.DropReason,
		first: ev.Tuple.Src, src: ev.Flow.Src, dst: ev.Flow.Dst, connections: map[Addr]*Peer{},
	}
	if ev.Time-before.last < refusalWindow {
		f.since = before.since
	}
	n.open[to] = append(n.open[to], f)
	n.order = append(n.order, f)
	return f
}

// admitted notes that the connection was opened after all.
func (c *Correlator) admitted(t *Tuple) {
	for _, f := range c.noPort.open[server{t.Dst, t.Protocol}] {
		delete(f.connections, t.Src)
	}
}

// refusalsBefore publishes those whose minute is over and settled.
func (c *Correlator) refusalsBefore(now int64) {
	for c.refusalsDue() < now {
		c.publishRefusals()
	}
}

// refusalsDue is when the oldest are published, maxTime if there are none.
func (c *Correlator) refusalsDue() int64 {
	if len(c.noPort.order) == 0 {
		return maxTime
	}
	return c.noPort.order[0].at + refusalWindow + c.settling()
}

// publishRefusals publishes the oldest.
func (c *Correlator) publishRefusals() {
	n := &c.noPort
	f := n.order[0]
	n.order = slices.Delete(n.order, 0, 1)
	if n.open[f.to] = slices.Delete(n.open[f.to], 0, 1); len(n.open[f.to]) == 0 {
		delete(n.open, f.to)
	}
	n.remember(f)
	count := len(f.connections) + f.more
	if count == 0 {
		c.stats.Harmless++
		return
	}
	drop := func(at int64) incident.Evidence {
		fct := fact{at: at, what: factDropped, n: f.reason}
		return incident.Evidence{Time: time.Unix(0, at).UTC(), From: incident.Hubble, What: fct.String(), Step: incident.PacketDropped}
	}
	i := &incident.Incident{
		Kind: incident.NoPort, Cause: incident.PortsExhausted, Outcome: incident.Dropped,
		Time: time.Unix(0, f.at).UTC(), Node: c.cfg.Node, Cluster: c.cfg.Cluster, Protocol: f.to.protocol.String(),
		Source: endpoint(f.first, f.src), Destination: endpoint(f.to.addr, f.dst),
		NAT:      incident.NAT{Map: "cilium_snat_v4_external"},
		Evidence: []incident.Evidence{drop(f.at)},
		Loss:     c.losses.since(f.at),
		Ports:    &incident.Ports{Refused: uint64(count), Since: time.Unix(0, f.since).UTC(), Pods: f.pods()},
	}
	if f.to.addr.AddrPort().Addr().Is6() {
		i.NAT.Map = "cilium_snat_v6_external"
	}
	if f.last > f.at {
		i.Evidence = append(i.Evidence, drop(f.last))
	}
	i.ID = i.NewID(uint64(f.at))
	c.hand(i)
}

// remember keeps since when refusals go on, for the next incident; what has ended
// makes room.
func (n *noPort) remember(f *refusals) {
	if len(n.past) >= maxRefusing {
		for to, r := range n.past {
			if f.last-r.last >= refusalWindow {
				delete(n.past, to)
			}
		}
	}
	if len(n.past) < maxRefusing {
		n.past[f.to] = f.run
	}
}

// pods are those with the most connections refused.
func (f *refusals) pods() []incident.PodCount {
	counts := map[string]uint64{}
	for addr, pod := range f.connections {
		e := endpoint(addr, pod)
		counts[e.PodName()]++
	}
	return mostOf(counts)
}

// mostOf returns the pods with the highest counts.
func mostOf(counts map[string]uint64) []incident.PodCount {
	pods := make([]incident.PodCount, 0, len(counts))
	for name, n := range counts {
		pods = append(pods, incident.PodCount{Name: name, Count: n})
	}
	slices.SortFunc(pods, func(a, b incident.PodCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
	})
	return pods[:min(len(pods), maxRefusedPods)]
}
