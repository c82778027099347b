// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// lossMargin is how long before the deciding event losses are reported, even
// when the entry was removed later than that.
const lossMargin = int64(10 * time.Second)

// incident makes one of a suspect.
func (c *Correlator) incident(s *suspect, cn *conn) *incident.Incident {
	i := &incident.Incident{
		Kind:        s.rule.kind,
		Cause:       s.cause,
		DeletedBy:   s.deletedBy,
		Outcome:     incident.Unconfirmed,
		Time:        time.Unix(0, s.at).UTC(),
		Node:        c.cfg.Node,
		Cluster:     c.cfg.Cluster,
		Protocol:    cn.tuple.Protocol.String(),
		Source:      endpoint(cn.tuple.Src, cn.src),
		HostNetwork: cn.flags&host != 0,
		Destination: endpoint(cn.tuple.Dst, cn.dst),
		NAT:         incident.NAT{Forced: s.forced, Program: s.program, SecondsLeft: uint32(s.left / time.Second)},
		Evidence:    s.timeline(),
		Map:         incident.Map{EvictionsPerSecond: s.rate},
	}
	switch {
	case s.reset:
		i.Outcome = incident.Reset
	case s.rule.unreset != "":
		i.Outcome = s.rule.unreset
	case s.waited && c.unanswered(s, cn):
		i.Outcome = incident.Timeout
	}
	if s.m != nil {
		i.NAT.Map, i.Map.MaxEntries = s.m.Name, s.m.MaxEntries
	}
	if !s.before.IsZero() {
		i.NAT.Before = s.before.String()
	}
	if !s.after.IsZero() {
		i.NAT.After, i.NAT.RenattedAt = s.after.String(), i.Time
	}
	from := s.at - lossMargin
	if s.removedAt != 0 {
		i.NAT.RemovedAt = time.Unix(0, s.removedAt).UTC()
		from = min(from, s.removedAt)
	}
	i.Loss = c.losses.since(from)
	i.ID = i.NewID(s.stamp)
	return i
}

// hand hands an incident out.
func (c *Correlator) hand(i *incident.Incident) {
	c.stats.Incidents++
	c.emit(i)
}

func endpoint(a Addr, p *Peer) incident.Endpoint {
	ap := a.AddrPort()
	e := incident.Endpoint{IP: ap.Addr(), Port: ap.Port()}
	if p != nil {
		e.Identity, e.Namespace, e.Pod, e.Workload = p.Identity, p.Namespace, p.Pod, p.Workload
		e.Labels, e.Names = p.Labels, p.Names
	}
	return e
}
