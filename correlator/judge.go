// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// accuse makes the connection a suspect because of ev. Of a connection that
// failed already, or is one, only the evidence grows: the first failure counts.
func (c *Correlator) accuse(r ref, rule *rule, ev *Event) {
	cn := c.table.at(r)
	if cn.flags&broken != 0 && cn.tuple.Protocol == TCP {
		return
	}
	if cn.suspect != 0 {
		if s := c.suspects.at(cn.suspect); s.replaced || c.openedAfter(cn, s) {
			c.decide(r) // the connection before this one, or this one's opening
		}
	}
	if cn.suspect != 0 {
		c.note(r, rule.decided(ev))
		return
	}
	if c.suspects.count >= c.cfg.MaxSuspects {
		c.stats.SuspectsForgotten++
		c.decide(c.suspects.at(c.suspects.oldest).conn)
	}
	cn.suspect = c.suspects.add()
	if cn.flags&host != 0 {
		c.accusedHost(r)
	}
	s := c.suspects.at(cn.suspect)
	s.conn, s.rule, s.at, s.stamp = r, rule, ev.Time, ev.NAT.KTime
	if s.stamp == 0 {
		s.stamp = uint64(ev.Time)
	}
	s.before = cn.snat
	s.blame(rule.lost(c, r))
	s.mute = cn.outOp != 0 && cn.flags&outBack == 0 && cn.outAt <= s.since && c.losses.since(cn.outAt).KernelEvents == 0
	if ev.Kind == KindNAT {
		s.m = ev.NAT.Map
		s.rate = c.maps.rate(s.m, s.at)
		if ev.NAT.Caller != nil {
			s.program = ev.NAT.Caller.Program
		}
	}
	if ev.NAT.Dir == Out {
		s.after = ev.NAT.To
	}
	s.proven = rule.proven(cn, s, ev)
	s.cpu = ev.cpu()
	early := s.at + c.lag.early
	if c.shows(s, cn.lastPod) {
		s.triggered = cn.lastPod
		if TCPFlags(cn.podFlags)&PSH != 0 {
			s.asked.at = cn.lastPod
		}
	}
	s.ended(cn.closedBefore(early), cn.flags, early)
	c.suspects.remember(s, cn)
	if ev.Kind == KindNAT {
		c.note(r, rule.decided(ev))
	}
}

// shows reports whether a pod's packet stamped at may be that of the deciding event,
// or came after it where that was none.
func (c *Correlator) shows(s *suspect, at int64) bool {
	if !s.rule.shown {
		return at >= s.at+c.lag.early
	}
	return c.lag.shows(at, s.at, s.cpu)
}

// blame notes what removed the entry whose loss broke the connection.
func (s *suspect) blame(lost removal) {
	s.since = lost.at
	s.cause = incident.UnknownCause
	if lost.op == 0 || lost.op == Missing {
		return
	}
	s.removedAt, s.forced = lost.at, lost.forced
	switch {
	case lost.op == Evict:
		s.cause = incident.LRUEviction
	case lost.op == Delete && lost.by != nil && lost.by.Program == ProgramSyscall:
		s.cause, s.deletedBy = incident.UserspaceDelete, lost.by.Comm
	case lost.op == Delete && lost.by != nil:
		s.cause = incident.DatapathDelete
	case lost.op == Replaced:
		s.cause = incident.MapReplaced
	}
}

// continueUnseen tells the suspect, too, that its connection had closed or
// failed before the tracking entry was made anew.
func (c *Correlator) continueUnseen(cn *conn) {
	cn.continueUnseen()
	if cn.suspect == 0 {
		return
	}
	if s := c.suspects.at(cn.suspect); !s.replaced {
		s.ended(cn.ended, cn.endedBy, s.at+c.lag.early)
		s.harmless = s.harmless || cn.endedBy&broken != 0 && cn.tuple.Protocol == TCP
		c.settle(s.conn)
	}
}

// ended takes that the suspect's connection had ended at a time, if it had: by an
// RST whose flow was stamped before the deciding event if that was early or later.
// The pod's kernel's RST tells of an end then, too, but not of whose.
func (s *suspect) ended(at int64, by connFlags, early int64) {
	switch closed := by&(podFIN|serverFIN) != 0; {
	case at == 0:
	case by&closedByPeer != 0 && at >= early:
		s.reset = true
		s.closed = s.closed || closed
	case closed || at < early:
		s.closed = true
	}
}

// replace notes that a new connection takes the tuple of cn at a time. What
// Hubble shows late may still be of the old one: the RST of its application
// that was re-NATted, or that of its server.
func (c *Correlator) replace(r ref, at int64) {
	cn := c.table.at(r)
	s := c.suspects.at(cn.suspect)
	if s.replaced || at > s.at+c.lag.late {
		c.decide(r)
		return
	}
	s.guiltless = !c.guilty(s, cn)
	s.replaced = true
}

// confirm takes an RST that ends a suspect's connection.
func (c *Correlator) confirm(r ref, fct fact) {
	cn := c.table.at(r)
	if cn.suspect == 0 {
		cn.close(fct.at, closedByPeer)
		return // it failed before
	}
	s := c.suspects.at(cn.suspect)
	switch {
	case s.replaced:
	case TCPFlags(fct.n)&ACK != 0 && !c.established(cn):
		s.harmless = true // it answers a SYN: refused, not broken
	case TCPFlags(fct.n)&ACK == 0 && s.rule.answersPod && fct.what != factHostPacket:
		s.stray = true // it answers a packet with an ACK: no opening
	}
	if !s.replaced {
		cn.close(fct.at, closedByPeer)
	}
	s.reset = true
	c.suspects.tell(s, fct) // note has left room for it
	c.settle(r)
}

// settle has a suspect published once its RST was seen, unless it looks harmless
// so far: what comes until its deadline may still tell. Shortly it waits even
// so, for a flow that another processor showed later although it came before.
func (c *Correlator) settle(r ref) {
	cn := c.table.at(r)
	if cn.suspect == 0 {
		return
	}
	if s := c.suspects.at(cn.suspect); s.reset && s.due == 0 && c.guilty(s, cn) {
		s.due = max(s.at, cn.closed) + breath + c.lag.apart
		c.resets = append(c.resets, r)
	}
}

// breath is how far apart two processors' flows are stamped by a Hubble that is
// not behind: it reads their rings in turn.
const breath = int64(2 * time.Millisecond)

// settleDue publishes the suspects whose RST was seen long enough before now.
func (c *Correlator) settleDue(now int64) {
	n := 0
	for ; n < len(c.resets); n++ {
		r := c.resets[n]
		cn := c.table.at(r)
		if cn.suspect == 0 {
			continue
		}
		s := c.suspects.at(cn.suspect)
		if s.due >= now {
			break
		}
		if s.due != 0 && c.guilty(s, cn) {
			c.unseen(s.due)
			c.decide(r)
		}
	}
	if n > 0 {
		c.resets = append(c.resets[:0], c.resets[n:]...)
	}
}

// decide ends a suspect: it becomes an incident or is dropped.
func (c *Correlator) decide(r ref) {
	cn := c.table.at(r)
	s := c.suspects.at(cn.suspect)
	if c.guilty(s, cn) {
		if !s.replaced {
			cn.flags |= broken
		}
		if i := c.incident(s, cn); s.cause == incident.MapReplaced {
			c.brokeByReplacement(s, i)
		} else {
			c.hand(i)
		}
	} else {
		c.stats.Harmless++
	}
	c.drop(r)
}

// drop forgets that the connection is a suspect.
func (c *Correlator) drop(r ref) {
	cn := c.table.at(r)
	c.suspects.remove(cn.suspect)
	cn.suspect = 0
	c.decidedHost(r)
}

// guilty applies the rules: the connection was established, had not closed,
// and was not opened anew after it lost its mapping.
func (c *Correlator) guilty(s *suspect, cn *conn) bool {
	if s.replaced {
		return !s.guiltless && !s.harmless
	}
	if s.closed || s.harmless || s.ownReset && !s.reset || s.rule.survived(c, cn, s) {
		return false
	}
	if c.openedAfter(cn, s) {
		return false // a new connection on an old port
	}
	if s.stray || c.established(cn) {
		return true
	}
	// Without flows the kernel must prove it, of a connection old enough not to
	// be one that was never answered.
	born := c.born(cn)
	return s.proven && born != 0 && s.at-born >= s.rule.age
}

// openedAfter reports whether the epoch began after the connection had lost its
// entry.
func (c *Correlator) openedAfter(cn *conn, s *suspect) bool {
	switch {
	case cn.opened == 0:
		return false
	case s.rule.atOnce && c.opensAtOnce(cn, s):
		return true
	case cn.flags&openedExactly != 0:
		// An RST of a stranger says that the tracking entry was made for a packet in
		// mid-stream, unless the opening was shown: whether that had ended counts.
		return cn.opened > s.since && (!s.stray || cn.flags&(sawOpening|sawAnswer) != 0 || cn.ended != 0 || cn.endedBy&broken != 0)
	case cn.flags&openedUntied != 0 && c.insertsShown(s.since):
		return false // its tracking entry was made while the connection had all
	case s.rule.replies && cn.flags&sawAnswer != 0:
		return false // the answer came through by the entry that was lost then
	}
	since := s.since
	if s.mute {
		since = s.at
	}
	return cn.opened-c.lag.early > since
}

// born returns when the epoch had begun at the latest; 0 if that is not known.
func (c *Correlator) born(cn *conn) int64 {
	if cn.opened == 0 || cn.flags&openedExactly != 0 {
		return max(cn.opened, cn.known)
	}
	at := cn.opened - c.lag.early
	if cn.known > cn.opened-c.lag.late { // else the entry was made for a connection before this one
		at = min(at, cn.known)
	}
	return at
}

// established reports whether Hubble showed packets beyond the opening one.
func (c *Correlator) established(cn *conn) bool {
	opened := cn.opened
	if cn.flags&openedExactly != 0 {
		opened += max(c.lag.early, 0)
	}
	return cn.flags&sawAnswer != 0 || max(cn.lastPod, cn.lastServer) > opened
}
