// SPDX-License-Identifier: Apache-2.0

package correlator

import "github.com/renat-project/renat/correlator/incident"

// orphanedReply: the IN entry of a living connection was lost, the server sent
// first, nothing translated its packet, so that it reached the host, which
// knows no such connection and reset the server.
//
//   - The deciding event is the IN insert for the same server and SNAT address
//     that is the host's own, or, where that was not seen, the host's RST.
//   - The kernel's event alone proves it, of a connection too old to be one
//     whose SYN-ACK was orphaned.
//   - The orphaned packet itself is not shown. What closes at about its time
//     came before it, and acquits.
//   - A SYN-ACK that reached the pod came through before the loss, and so did
//     the opening that it answers, whenever Hubble stamped it.
//   - A SYN from the SNAT address says that the host uses the port for a
//     connection of its own: that made the entry.
//
// The scenarios are testdata/orphan*.txtar and testdata/harmless_*orphan*.txtar.
var orphanedReply = rule{
	kind:   incident.OrphanedReply,
	on:     inHosted | hostSpoke,
	notice: noticeOrphan,
	lost:   (*Correlator).inRemoval,
	decided: func(ev *Event) fact {
		return fact{at: ev.Time, what: factOrphaned, addr: ev.Tuple.Dst, by: ev.NAT.Caller}
	},
	proven:  func(_ *conn, _ *suspect, ev *Event) bool { return ev.Kind == KindNAT },
	replies: true,
	age:     answer,
	done: func(c *Correlator, _ *conn, s *suspect, at int64) bool {
		return at-c.lag.late <= s.at
	},
	survived: func(*Correlator, *conn, *suspect) bool { return false },
}

// hostReset is an RST of the host's that Hubble showed of a connection that had lost
// nothing, as far as the kernel had told: Hubble's stamps may be early.
type hostReset struct {
	conn ref
	fct  fact
}

// maxHostResets is how many of them are looked through, the newest.
const maxHostResets = 64

func noticeOrphan(c *Correlator, own *rule, r ref, what change, ev *Event) {
	cn := c.table.at(r)
	if what == inHosted {
		c.accuse(r, own, ev)
		cn.flags |= hostOwned
		for _, e := range c.hostResets {
			if e.conn == r && e.fct.at >= ev.Time+c.lag.early {
				c.confirm(r, e.fct)
			}
		}
		c.settle(r)
		return
	}
	fct := fact{at: ev.Time, what: factHostPacket, n: uint16(ev.Flow.Flags), addr: cn.snat}
	switch {
	case ev.Flow.Flags&SYN != 0:
		if cn.suspect != 0 && c.suspects.at(cn.suspect).rule == own {
			c.suspects.at(cn.suspect).harmless = true
		}
	case ev.Flow.Flags&RST != 0 && cn.suspect != 0:
		c.confirm(r, fct)
		return
	case ev.Flow.Flags&RST != 0 && cn.inOp != 0 && cn.flags&hostOwned == 0:
		// The host's insert was not seen, but its reset was.
		c.accuse(r, own, ev)
		c.confirm(r, fct)
		return
	case ev.Flow.Flags&RST != 0:
		c.hostResets = newest(c.hostResets, hostReset{r, fct}, maxHostResets)
		return
	}
	c.note(r, fct)
}
