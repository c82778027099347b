// SPDX-License-Identifier: Apache-2.0

package correlator

import "github.com/renat-project/renat/correlator/incident"

// suspect is a connection whose mapping was lost and came back in a way that
// breaks it. Suspects are few; each keeps the evidence for its verdict.
type suspect struct {
	conn     ref
	kind     incident.Kind
	at       int64  // the deciding event: new mapping, orphaned reply
	stamp    uint64 // the same on the kernel's monotonic clock, else at
	deadline int64  // when to stop waiting for an RST

	cause     incident.Cause
	deletedBy string
	removedAt int64 // 0 if not seen
	since     int64 // last change of the entry before at: an epoch opened after it is new
	forced    bool
	program   string
	before    Addr
	after     Addr // zero for an orphaned reply

	closed    bool // the connection had closed before
	harmless  bool // later events explain it away
	triggered bool // the pod's packet that was re-NATted was seen
	proven    bool // the kernel's events alone show that the connection was cut
	reset     bool // the RST was seen
	replaced  bool // a new connection began on its tuple before Hubble told of this one's end
	guiltless bool // the rules acquitted it when it was replaced

	m     *Map
	rate  float64 // evictions per second before
	facts []fact

	older, newer ref // the queue by deadline; newer also chains free ones
}

// suspects is the queue of suspects, oldest first, and their storage.
type suspects struct {
	all    []*suspect // number 0 is unused
	free   ref
	oldest ref
	newest ref
	count  int
}

func (q *suspects) at(r ref) *suspect { return q.all[r] }

// add returns the number of a fresh suspect at the end of the queue.
func (q *suspects) add() ref {
	if q.all == nil {
		q.all = append(q.all, nil)
	}
	r := q.free
	if r != 0 {
		q.free = q.at(r).newer
	} else {
		q.all = append(q.all, &suspect{})
		r = ref(len(q.all) - 1)
	}
	*q.at(r) = suspect{facts: q.at(r).facts[:0], older: q.newest}
	if q.newest != 0 {
		q.at(q.newest).newer = r
	} else {
		q.oldest = r
	}
	q.newest = r
	q.count++
	return r
}

func (q *suspects) remove(r ref) {
	s := q.at(r)
	if s.older != 0 {
		q.at(s.older).newer = s.newer
	} else {
		q.oldest = s.newer
	}
	if s.newer != 0 {
		q.at(s.newer).older = s.older
	} else {
		q.newest = s.older
	}
	clear(s.facts)
	*s = suspect{facts: s.facts[:0], newer: q.free}
	q.free = r
	q.count--
}

// accuse makes the connection a suspect because of ev. Of a connection that
// failed already, or is one, only the evidence grows: the first failure counts.
func (c *Correlator) accuse(r ref, kind incident.Kind, ev *Event) {
	cn := c.table.at(r)
	if cn.flags&broken != 0 && cn.tuple.Protocol == TCP {
		return
	}
	if cn.suspect != 0 && c.suspects.at(cn.suspect).replaced {
		c.decide(r) // the connection before this one
	}
	if cn.suspect != 0 {
		c.note(r, deciding(kind, ev))
		return
	}
	if c.suspects.count >= c.cfg.MaxSuspects {
		c.stats.SuspectsForgotten++
		c.decide(c.suspects.at(c.suspects.oldest).conn)
	}
	cn.suspect = c.suspects.add()
	s := c.suspects.at(cn.suspect)
	s.conn, s.kind, s.at, s.stamp = r, kind, ev.Time, ev.NAT.KTime
	if s.stamp == 0 {
		s.stamp = uint64(ev.Time)
	}
	s.deadline = s.at + int64(c.cfg.Settle)
	s.before = cn.snat
	s.blame(cn)
	if ev.Kind == KindNAT {
		s.m = ev.NAT.Map
		s.rate = c.maps.rate(s.m, s.at)
		if ev.NAT.Caller != nil {
			s.program = ev.NAT.Caller.Program
		}
	}
	if kind == incident.Renat {
		s.after = ev.NAT.To
		s.proven = cn.inOp == 0 || cn.collided > s.since
	} else {
		s.proven = ev.Kind == KindNAT
	}
	early := s.at - skewEarly
	s.triggered = cn.lastPod >= early
	if cn.flags&closedByPeer != 0 && cn.closed >= early {
		s.reset = true // the RST's flow was stamped before the kernel's event
	} else {
		s.closed = cn.closed != 0
	}
	s.remember(cn)
	if ev.Kind == KindNAT {
		c.note(r, deciding(kind, ev))
	}
}

// blame notes what removed the entry whose loss broke the connection.
func (s *suspect) blame(cn *conn) {
	op, by := cn.outOp, cn.outBy
	s.since, s.forced = cn.outAt, cn.flags&outForced != 0
	if s.kind == incident.OrphanedReply {
		op, by = cn.inOp, cn.inBy
		s.since, s.forced = cn.inAt, cn.flags&inForced != 0
	}
	s.cause = incident.UnknownCause
	if op == 0 {
		s.forced = false
		return
	}
	s.removedAt = s.since
	switch {
	case op == Evict:
		s.cause = incident.LRUEviction
	case op == Delete && by != nil && by.Program == ProgramSyscall:
		s.cause, s.deletedBy = incident.UserspaceDelete, by.Comm
	case op == Delete && by != nil:
		s.cause = incident.DatapathDelete
	}
}

// closes takes a FIN, or the pod's RST. What closes before the packet that was
// re-NATted, or is that packet itself, says that the application was done.
// Which came first is plain when Hubble showed a packet of the pod between the
// two, and the connection is older than Hubble may be late. An orphaned reply
// is not shown: there, what closes at about its time came before it.
func (s *suspect) closes(cn *conn, at int64) {
	after := s.kind == incident.Renat && s.triggered && s.at-cn.opened > skewLate
	if !after && at <= s.at+skewLate {
		s.harmless = true
	}
}

// replace notes that a new connection takes the tuple of cn at a time. What
// Hubble shows late may still be of the old one: the RST of its application
// that was re-NATted, or that of its server.
func (c *Correlator) replace(r ref, at int64) {
	cn := c.table.at(r)
	s := c.suspects.at(cn.suspect)
	if s.replaced || at > s.at+skewLate {
		c.decide(r)
		return
	}
	s.guiltless = !s.guilty(cn)
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
	if !s.replaced {
		cn.close(fct.at, closedByPeer)
	}
	s.reset = true
	s.facts = append(s.facts, fct) // note has left room for it
	c.settle(r)
}

// settle publishes a suspect as soon as its RST was seen, unless it looks
// harmless so far: what comes until its deadline may still tell.
func (c *Correlator) settle(r ref) {
	cn := c.table.at(r)
	if cn.suspect == 0 {
		return
	}
	if s := c.suspects.at(cn.suspect); s.reset && s.guilty(cn) {
		c.decide(r)
	}
}

// decide ends a suspect: it becomes an incident or is dropped.
func (c *Correlator) decide(r ref) {
	cn := c.table.at(r)
	s := c.suspects.at(cn.suspect)
	if s.guilty(cn) {
		if !s.replaced {
			cn.flags |= broken
		}
		c.publish(s, cn)
	} else {
		c.stats.Harmless++
	}
	c.suspects.remove(cn.suspect)
	cn.suspect = 0
}

// guilty applies the rules: the connection was established, had not closed,
// and was not opened anew after it lost its mapping.
func (s *suspect) guilty(cn *conn) bool {
	if s.replaced {
		return !s.guiltless && !s.harmless
	}
	if s.closed || s.harmless || s.endedWell(cn) {
		return false
	}
	since := s.since
	if cn.flags&openedExactly == 0 {
		since -= skewEarly
	}
	if cn.opened != 0 && cn.opened > since {
		return false // a new connection on an old port
	}
	if cn.established() {
		return true
	}
	// Without flows the kernel must prove it, of a connection old enough not to
	// be one that was never answered.
	age := answer
	if s.kind == incident.Renat {
		age = handshake
	}
	return s.proven && (cn.opened == 0 || s.at-cn.opened >= age)
}

// endedWell reports whether both sides still understood each other after the
// new mapping: one closed in good order and the other's packets came through.
// A connection that was cut gets an RST for its FIN.
func (s *suspect) endedWell(cn *conn) bool {
	if s.kind != incident.Renat || s.reset || cn.closed <= s.at {
		return false
	}
	return cn.flags&podFIN != 0 && cn.lastServer > s.at || cn.flags&serverFIN != 0 && cn.lastPod > s.at
}
