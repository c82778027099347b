// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// fact is one line of evidence before it is put into words.
type fact struct {
	at   int64
	what factKind
	op   Op      // of a removal
	n    uint16  // TCP flags, or Hubble's drop reason
	addr Addr    // the entry's translation
	by   *Caller // nil if unknown
	hot  bool    // of an eviction: forced
}

type factKind uint8

const (
	factTracked factKind = iota
	factOutRemoved
	factInRemoved
	factCollided
	factRenatted
	factOrphaned
	factOpening
	factPodPacket
	factServerPacket
	factHostPacket
	factDropped
)

var steps = [...]incident.Step{
	factTracked: incident.Opened, factOutRemoved: incident.OutRemoved, factInRemoved: incident.InRemoved,
	factCollided: incident.PortRefused, factRenatted: incident.Renatted, factOrphaned: incident.Orphaned,
	factOpening: incident.Opened, factPodPacket: incident.PodPacket, factServerPacket: incident.ServerPacket,
	factHostPacket: incident.HostPacket, factDropped: incident.PacketDropped,
}

// from says who saw it.
func (f *fact) from() incident.Source {
	if f.what >= factOpening {
		return incident.Hubble
	}
	return incident.Kernel
}

// String puts the fact into words.
func (f *fact) String() string {
	switch f.what {
	case factTracked:
		return "connection tracking entry created: the connection opens"
	case factOutRemoved:
		return "OUT entry " + f.removal() + ": the pod's packets were sent from " + f.addr.String()
	case factInRemoved:
		return "IN entry " + f.removal() + ": replies to " + f.addr.String() + " reached the pod"
	case factCollided:
		return "IN insert for " + f.addr.String() + " refused (errno 17): the old entry is still there"
	case factRenatted:
		return "OUT entry inserted" + f.caller() + ": the pod's packets are now sent from " + f.addr.String()
	case factOrphaned:
		return "IN entry inserted" + f.caller() + " as the host's own: replies to " + f.addr.String() + " reach the host"
	case factOpening:
		return "the connection opens"
	case factPodPacket:
		return "packet from the pod" + f.flags()
	case factServerPacket:
		return "packet from the server to the pod" + f.flags()
	case factHostPacket:
		return "packet from the host, " + f.addr.String() + ", to the server" + f.flags()
	case factDropped:
		return "packet from the pod dropped, reason " + strconv.Itoa(int(f.n))
	}
	return "unknown"
}

func (f *fact) flags() string {
	if f.n == 0 {
		return ""
	}
	return " (" + TCPFlags(f.n).String() + ")"
}

func (f *fact) caller() string {
	if f.by == nil || f.by.Program == "" {
		return ""
	}
	return " by " + f.by.Program
}

func (f *fact) removal() string {
	switch {
	case f.op == Evict && f.hot:
		return "evicted while in use"
	case f.op == Evict:
		return "evicted"
	case f.op == Replaced:
		return "lost with the whole map, which was replaced"
	case f.by != nil && f.by.Comm != "":
		return fmt.Sprintf("deleted by process %q", f.by.Comm)
	}
	return "deleted" + f.caller()
}

// deciding is the fact that made a connection a suspect.
func deciding(kind incident.Kind, ev *Event) fact {
	if kind == incident.Renat {
		return fact{at: ev.Time, what: factRenatted, addr: ev.NAT.To, by: ev.NAT.Caller}
	}
	return fact{at: ev.Time, what: factOrphaned, addr: ev.Tuple.Dst, by: ev.NAT.Caller}
}

// note adds a fact to the connection's suspect, if it is one. When there are
// too many, the first ones count; one place stays free for the RST.
func (c *Correlator) note(r ref, f fact) {
	if n := c.table.at(r).suspect; n != 0 {
		if s := c.suspects.at(n); len(s.facts) < incident.MaxEvidence-1 {
			s.facts = append(s.facts, f)
		}
	}
}

// remember takes over what the connection knows of itself.
func (s *suspect) remember(cn *conn) {
	add := func(f fact) {
		if f.at != 0 {
			s.facts = append(s.facts, f)
		}
	}
	if cn.flags&openedExactly != 0 {
		add(fact{at: cn.opened, what: factTracked})
	} else {
		add(fact{at: cn.opened, what: factOpening})
	}
	add(fact{at: cn.lastServer, what: factServerPacket})
	add(fact{at: cn.lastPod, what: factPodPacket})
	if cn.outOp != 0 {
		add(fact{at: cn.outAt, what: factOutRemoved, op: cn.outOp, addr: cn.snat, by: cn.outBy, hot: cn.flags&outForced != 0})
	}
	if cn.inOp != 0 {
		add(fact{at: cn.inAt, what: factInRemoved, op: cn.inOp, addr: cn.snat, by: cn.inBy, hot: cn.flags&inForced != 0})
	}
	if cn.collided > s.since {
		add(fact{at: cn.collided, what: factCollided, addr: cn.snat})
	}
	if s.reset {
		add(fact{at: cn.closed, what: factServerPacket, n: uint16(RST)})
	}
}

// timeline puts the facts into words, oldest first.
func (s *suspect) timeline() []incident.Evidence {
	slices.SortStableFunc(s.facts, func(a, b fact) int { return cmp.Compare(a.at, b.at) })
	lines := make([]incident.Evidence, len(s.facts))
	for i := range s.facts {
		f := &s.facts[i]
		lines[i] = incident.Evidence{Time: time.Unix(0, f.at).UTC(), From: f.from(), What: f.String(), Step: steps[f.what]}
		if f.what == factPodPacket || f.what == factServerPacket || f.what == factHostPacket {
			lines[i].Flags = TCPFlags(f.n).String()
		}
	}
	return lines
}
