// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// egressChanged: the address that a living connection is sent from was changed
// under way, by an egress gateway policy or on the node. Cilium's datapath sees
// with the pod's next packet that the entry has another address than policy
// wants, deletes it and makes a new one. To the server that is a stranger's.
//
//   - The deciding event is the OUT insert whose address is not the last one,
//     whatever became of the port, and whatever removed the entry before: the
//     address would have changed all the same.
//   - A packet that opens a connection finds the entry of the one before it and
//     replaces it in the same way. So an opening at about that time acquits, even
//     where its tracking entry was made just before the loss.
//   - The kernel alone proves nothing: it cannot tell these two apart.
//   - Otherwise it is judged as renat is.
//
// The scenarios are testdata/egress_*.txtar and testdata/harmless_egress_*.txtar.
var egressChanged = rule{
	kind: incident.EgressChanged,
	on:   outMoved,
	notice: func(c *Correlator, own *rule, r ref, _ change, ev *Event) {
		if ev.NAT.To.IP != c.table.at(r).snat.IP {
			c.accuse(r, own, ev)
		}
	},
	lost:       renat.lost,
	decided:    renat.decided,
	proven:     func(*conn, *suspect, *Event) bool { return false },
	shown:      true,
	answersPod: true,
	atOnce:     true,
	age:        handshake,
	done:       doneBeforeRenat,
	survived:   survivedRenat,
}

// onePacket is how long the datapath may take over a packet that makes a tracking
// entry and replaces a mapping.
const onePacket = int64(10 * time.Millisecond)

// opensAtOnce reports whether the epoch was opened by the packet of the suspect's
// deciding event.
func (c *Correlator) opensAtOnce(cn *conn, s *suspect) bool {
	if cn.flags&openedExactly != 0 {
		return cn.opened >= s.at-onePacket && cn.opened <= s.at+onePacket
	}
	return cn.opened >= s.at+c.lag.early && cn.opened <= s.at+c.lag.late
}
