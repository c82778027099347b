// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// fact is one line of evidence before it is put into words.
type fact struct {
	at   int64
	what factKind
	op   Op            // of a removal
	n    uint16        // TCP flags, or Hubble's drop reason
	addr Addr          // the entry's translation
	by   *Caller       // nil if unknown
	hot  bool          // of an eviction: forced
	age  seconds       // of a removed entry
	left time.Duration // of a removed tracking entry
}

type factKind uint8

const (
	factTracked factKind = iota
	factOutRemoved
	factInRemoved
	factCollided
	factRenatted
	factOrphaned
	factUntracked
	factOpening
	factPodPacket
	factServerPacket
	factHostPacket
	factDropped
	factReplyDropped
)

var steps = [...]incident.Step{
	factTracked: incident.Opened, factOutRemoved: incident.OutRemoved, factInRemoved: incident.InRemoved,
	factCollided: incident.PortRefused, factRenatted: incident.Renatted, factOrphaned: incident.Orphaned,
	factOpening: incident.Opened, factPodPacket: incident.PodPacket, factServerPacket: incident.ServerPacket,
	factHostPacket: incident.HostPacket, factDropped: incident.PacketDropped,
	factUntracked: incident.TrackingRemoved, factReplyDropped: incident.ServerPacketDropped,
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
	case factUntracked:
		return "connection tracking entry " + f.removal() + ", with " + f.left.String() + " left"
	case factOpening:
		return "the connection opens"
	case factPodPacket:
		return "packet from the pod" + f.flags()
	case factServerPacket:
		return "packet from the server to the pod" + f.flags()
	case factHostPacket:
		return "packet from the host, " + f.addr.String() + ", to the server" + f.flags()
	case factDropped:
		return "packet from the pod dropped, reason " + strconv.Itoa(int(f.n)) + f.denial()
	case factReplyDropped:
		return "packet from the server to the pod dropped, reason " + strconv.Itoa(int(f.n)) + f.denial()
	}
	return "unknown"
}

func (f *fact) flags() string {
	if f.n == 0 {
		return ""
	}
	return " (" + TCPFlags(f.n).String() + ")"
}

// denial puts the drop reasons that decide something into words.
func (f *fact) denial() string {
	switch {
	case isDenial(f.n):
		return " (denied by policy)"
	case f.n == noMapping:
		return " (no mapping)"
	}
	return ""
}

func (f *fact) caller() string {
	if f.by == nil || f.by.Program == "" {
		return ""
	}
	return " by " + f.by.Program
}

func (f *fact) removal() string {
	switch {
	case f.op == Missing:
		return "found to be gone"
	case f.op == Replaced:
		return "lost with the whole map, which was replaced"
	case f.op == Evict && f.hot:
		return "evicted although used of late" + f.made()
	case f.op == Evict:
		return "evicted" + f.made()
	case f.by != nil && f.by.Comm != "":
		return fmt.Sprintf("deleted by process %q%s", f.by.Comm, f.made())
	}
	return "deleted" + f.caller() + f.made()
}

// made says how long before its removal the entry had been made.
func (f *fact) made() string {
	switch f.age {
	case 0:
		return ""
	case math.MaxUint16:
		return fmt.Sprintf(", mapped more than %d h before", f.age/3600)
	}
	return fmt.Sprintf(", mapped %v before", time.Duration(f.age)*time.Second)
}

// note adds a fact to the connection's suspect, if it is one. When there are
// too many, the first ones count.
func (c *Correlator) note(r ref, f fact) {
	if n := c.table.at(r).suspect; n != 0 {
		if s := c.suspects.at(n); !c.suspects.full(s) {
			c.suspects.tell(s, f)
		}
	}
}

// remember takes over what the suspect's connection knows of itself.
func (q *suspects) remember(s *suspect, cn *conn) {
	add := func(f fact) {
		if f.at != 0 {
			q.tell(s, f)
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
		add(fact{at: cn.outAt, what: factOutRemoved, op: cn.outOp, addr: cn.snat, by: cn.outBy, hot: cn.flags&outForced != 0, age: cn.outAge})
	}
	if cn.inOp != 0 {
		add(fact{at: cn.inAt, what: factInRemoved, op: cn.inOp, addr: cn.snat, by: cn.inBy, hot: cn.flags&inForced != 0, age: cn.inAge})
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
