// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// trackingLost: the connection tracking entry of a living connection was
// deleted or evicted. What comes next is a stranger's packet, of which policy is
// asked anew: the server's, which no policy of the pod expects, is dropped.
//
//   - The deciding event is Hubble's: policy dropped a packet of the connection,
//     that neither opens nor closes it, while its entry was gone. Replies of a
//     connection that is tracked are never asked about.
//   - The entry was alive by its own value, read where the kernel freed it: it
//     had time left, more than a SYN had passed and not both sides had closed.
//     That proves that the connection was established.
//   - The pod's next packet makes the entry anew and heals all. Before the drop
//     it keeps the connection from being a suspect; after it, within the settle
//     time, it acquits: the server sends again what was dropped. That it passed
//     is told by the entry's insert, by a packet of the pod that Hubble shows as
//     NEW or long enough after the loss, or by one of the server that came
//     through.
//   - What closed before the drop acquits.
//
// The scenarios are testdata/tracking_*.txtar.
var trackingLost = rule{
	kind:    incident.TrackingLost,
	unreset: incident.Dropped,
	on:      denied,
	notice:  noticeDenied,
	lost: func(c *Correlator, r ref) removal {
		return c.untracked.of[r].removal
	},
	decided: func(ev *Event) fact {
		return fact{at: ev.Time, what: factDropped, n: ev.Flow.DropReason}
	},
	proven: func(*conn, *suspect, *Event) bool { return true },
	done: func(c *Correlator, _ *conn, s *suspect, at int64) bool {
		return at-c.lag.late <= s.at
	},
	survived: func(c *Correlator, cn *conn, s *suspect) bool {
		return !s.reset && (c.untracked.of[s.conn].at == 0 || cn.lastServer > s.at+max(c.lag.early, 0))
	},
}

// isDenial: the drop reasons of policy: denied, and denied by a deny rule.
func isDenial(reason uint16) bool { return reason == 133 || reason == 181 }

func noticeDenied(c *Correlator, own *rule, r ref, _ change, ev *Event) {
	cn, lost := c.table.at(r), c.untracked.of[r]
	if lost.at == 0 || cn.suspect != 0 || ev.Flow.Flags&(SYN|FIN|RST) != 0 {
		return
	}
	c.accuse(r, own, ev)
	if cn.suspect == 0 {
		return
	}
	s := c.suspects.at(cn.suspect)
	s.stamp, s.m, s.rate = lost.ktime, lost.m, c.maps.rate(lost.m, s.at)
	s.left = lost.left
	c.suspects.tell(s, fact{at: lost.at, what: factUntracked, op: lost.op, by: lost.by, hot: lost.forced, left: lost.left})
}

// untracking is how a connection's tracking entry went.
type untracking struct {
	removal
	ktime uint64
	left  time.Duration
	m     *Map
}

// untracked are the connections whose tracking entry went alive and did not come
// back, at most as many as may be suspects: beyond, the oldest go.
type untracked struct {
	of    map[ref]untracking
	queue []untrackedAt // the oldest first, with those that came back
}

type untrackedAt struct {
	conn ref
	at   int64
}

// onUntracked takes the removal of a tracking entry.
func (c *Correlator) onUntracked(ev *Event) {
	n := &ev.NAT
	if n.Left == 0 || n.Errno != 0 || n.Dir != Out || ev.Tuple.Protocol != TCP {
		return
	}
	if n.Op == Evict {
		c.maps.evicted(n.Map, ev.Time)
	}
	r := c.connection(&ev.Tuple)
	cn := c.table.at(r)
	if cn.flags&openedExactly == 0 {
		cn.lasts(ev.Time)
	}
	u := &c.untracked
	for len(u.queue) >= c.cfg.MaxSuspects {
		if old := u.queue[0]; u.of[old.conn].at == old.at {
			delete(u.of, old.conn)
			c.stats.SuspectsForgotten++
		}
		u.queue = u.queue[1:]
	}
	u.queue = append(u.queue, untrackedAt{r, ev.Time})
	u.of[r] = untracking{removal{n.Op, ev.Time, n.Caller, n.Forced}, n.KTime, n.Left, n.Map}
}

// trackedAgain notes that the connection has a tracking entry.
func (c *Correlator) trackedAgain(r ref) { delete(c.untracked.of, r) }

// passed takes a packet of a connection's that policy let through. Of one that
// was shown soon after the entry went nobody can tell whether it was before.
func (c *Correlator) passed(r ref, ev *Event) {
	if lost := c.untracked.of[r].at; lost != 0 && (ev.Flow.Reason == ReasonNew || ev.Time-c.lag.late > lost) {
		c.trackedAgain(r)
	}
}
