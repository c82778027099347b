// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// renat: the OUT entry of a living connection was lost, the pod's next packet
// got a new one with another port, and to the server it comes from a stranger,
// which it resets.
//
//   - The deciding event is the OUT insert whose port is not the last one; with another
//     address it is another kind.
//   - The kernel alone proves it when the connection's own IN entry was still
//     there and held the old port. An IN entry that was never seen is no proof:
//     Cilium before 1.20 keeps entries without one for DSR. Nor of a connection
//     of the host is there proof: a mere RST of the host's has such entries.
//   - What closes before the packet that was re-NATted, or is that packet,
//     acquits: the application was done. Which came first is plain when Hubble
//     showed a packet of the pod between the two and the connection is older
//     than Hubble may be late, unless nothing has told of late how late it is. A FIN right behind that packet, before the
//     server said anything, says that the packet was a farewell (TLS
//     close_notify, a protocol's quit): the application was done as well.
//   - An RST without an ACK answers a packet that had one: what was re-NATted was
//     no opening, even if a tracking entry was made for it and Hubble showed
//     nothing else. The RST of the pod's application, which has an ACK, gets no
//     answer: where none came, it may be the packet, and acquits.
//   - While the OUT entry is gone the pod sends nothing: an opening that Hubble
//     stamped after the loss, but which came before the new mapping, came before
//     the loss.
//   - What closes in good order after it, the other side's packets still coming
//     through, shows that the connection survived.
//
// The scenarios are testdata/renat*.txtar and most of testdata/harmless*.txtar.
var renat = rule{
	kind: incident.Renat,
	on:   outMoved,
	notice: func(c *Correlator, own *rule, r ref, _ change, ev *Event) {
		if ev.NAT.To.IP == c.table.at(r).snat.IP {
			c.accuse(r, own, ev)
		}
	},
	lost: (*Correlator).outRemoval,
	decided: func(ev *Event) fact {
		return fact{at: ev.Time, what: factRenatted, addr: ev.NAT.To, by: ev.NAT.Caller}
	},
	proven: func(cn *conn, s *suspect, _ *Event) bool {
		return cn.flags&host == 0 && (cn.inOp == 0 && cn.inAt != 0 || cn.collided > s.since)
	},
	shown:      true,
	answersPod: true,
	age:        handshake,
	done:       doneBeforeRenat,
	survived:   survivedRenat,
}

// farewell is how long after a last packet its application closes: it does both
// in one breath, but Hubble may read the two from different CPUs.
const farewell = int64(50 * time.Millisecond)

func doneBeforeRenat(c *Correlator, cn *conn, s *suspect, at int64) bool {
	if at-c.lag.early <= s.at {
		return true
	}
	if s.triggered != 0 && !c.shows(s, s.triggered) {
		s.triggered = 0 // what came since tells
	}
	sure := c.lag.measured || s.triggered-c.lag.late > s.at
	if s.triggered == 0 || s.at-cn.opened <= c.lag.late || !sure {
		return at-c.lag.late <= s.at
	}
	return at-cn.lastPod <= farewell && cn.lastServer < max(s.at+c.lag.early, s.triggered+breath+c.lag.apart)
}

// survivedRenat reports whether both sides still understood each other: one
// closed in good order and the other's packets came through. A connection that
// was cut gets an RST for its FIN.
func survivedRenat(c *Correlator, cn *conn, s *suspect) bool {
	after := s.at + max(c.lag.early, 0)
	if s.reset || cn.closed <= after {
		return false
	}
	return cn.flags&podFIN != 0 && cn.lastServer > after || cn.flags&serverFIN != 0 && cn.lastPod > after
}
