// SPDX-License-Identifier: Apache-2.0

package correlator

import "time"

// onFlow takes a packet that Hubble saw.
func (c *Correlator) onFlow(ev *Event) {
	f := &ev.Flow
	c.flowsSeen, c.lastFlow = true, max(c.lastFlow, ev.Time)
	switch f.Point {
	case ToEndpoint:
		// Anything but a reply belongs to a connection that came to the pod.
		if f.Reason == ReasonReply {
			c.fromServer(ev)
		}
	case ToOverlay:
		if f.Reason == ReasonReply {
			c.relayed(ev)
		}
	case ToStack, ToNetwork:
		switch {
		case f.Reason == ReasonReply:
			c.relayed(ev)
			return
		case f.Xlated != [16]byte{}:
			c.translated(ev)
			return
		}
		if f.Point == ToNetwork {
			key := ev.Tuple.Reverse()
			if r := c.table.lookupReply(&key); r != 0 {
				if f.Reason == ReasonUnknown && c.table.at(r).flags&host == 0 {
					c.balanced(r, ev)
					return
				}
				if host := c.table.lookup(&ev.Tuple); host != 0 && ev.Flow.Reason == ReasonNew && c.ties(c.table.at(host), ev.Time) {
					c.table.at(host).flags |= sawOpening
				}
				c.notice(r, hostSpoke, ev)
				return
			}
		}
		c.fromPod(ev)
	case Dropped:
		c.dropped(ev)
	}
}

// dropped takes a packet of either side that was dropped.
func (c *Correlator) dropped(ev *Event) {
	c.refused(ev)
	fct := fact{at: ev.Time, what: factDropped, n: ev.Flow.DropReason}
	pod, server := ev.Flow.Src, ev.Flow.Dst
	r := c.table.lookup(&ev.Tuple)
	if r == 0 {
		tuple := ev.Tuple.Reverse()
		if r = c.table.lookup(&tuple); r == 0 {
			return
		}
		fct.what, pod, server = factReplyDropped, server, pod
		if cn := c.table.at(r); cn.suspect != 0 {
			c.suspects.at(cn.suspect).asked.answered = true
		}
	}
	if isDenial(ev.Flow.DropReason) {
		c.table.at(r).name(pod, server)
		c.notice(r, denied, ev)
	}
	c.note(r, fct)
}

// fromPod takes a pod's packet before translation.
func (c *Correlator) fromPod(ev *Event) {
	r := c.connection(&ev.Tuple)
	cn := c.table.at(r)
	cn.name(ev.Flow.Src, ev.Flow.Dst)
	c.passed(r, ev)
	flags, tcp := ev.Flow.Flags, ev.Tuple.Protocol == TCP
	switch {
	case tcp && (flags&SYN != 0 || ev.Flow.Reason == ReasonReopened), !tcp && ev.Flow.Reason == ReasonNew:
		c.opening(r, ev)
		cn.podFlags = 0
		c.note(r, fact{at: ev.Time, what: factPodPacket, n: uint16(flags)})
		return
	case flags&(RST|ACK) == RST:
		cn.podFlags = 0
		cn.gone(ev.Time)
	case flags&(FIN|RST) != 0:
		cn.podFlags = 0
		c.closing(r, ev.Time, podFIN, flags&RST != 0)
	default:
		cn.flags &^= midstream
		if tcp && ev.Flow.Reason == ReasonNew {
			if c.ties(cn, ev.Time) {
				c.continueUnseen(cn)
			} else {
				cn.flags |= midstream
				c.early.push(r, ev.Time)
			}
		}
		cn.talk(ev.Time, podFIN, serverFIN)
		c.asks(cn, ev)
		cn.lastPod = ev.Time
		c.triggered(cn, ev.Time)
		if cn.flags&closedByPeer != 0 && ev.Time-cn.closed <= max(skewQuiet, c.lag.apart) {
			c.masqueraded(r, fact{at: cn.closed, what: factServerPacket, n: uint16(RST)})
		}
	}
	c.note(r, fact{at: ev.Time, what: factPodPacket, n: uint16(flags)})
}

// fromServer takes a server's packet after its translation back.
func (c *Correlator) fromServer(ev *Event) {
	tuple := ev.Tuple.Reverse()
	flags := ev.Flow.Flags
	r := c.table.lookup(&tuple)
	if r == 0 {
		if flags&RST != 0 {
			return // the end of something never seen
		}
		r = c.connection(&tuple)
	}
	cn := c.table.at(r)
	cn.flags |= used
	cn.name(ev.Flow.Dst, ev.Flow.Src)
	c.passed(r, ev)
	fct := fact{at: ev.Time, what: factServerPacket, n: uint16(flags)}
	switch {
	case flags&RST != 0:
		if cn.suspect != 0 {
			c.confirm(r, fct)
			return
		}
		cn.close(ev.Time, closedByPeer)
		c.masqueraded(r, fct)
	case flags&FIN != 0:
		c.closing(r, ev.Time, serverFIN, false)
		cn.lastServer = ev.Time
	case flags&SYN != 0:
		c.admitted(&tuple)
		c.answered(r, ev.Time)
		cn.lastServer = ev.Time
	default:
		if tuple.Protocol != TCP {
			c.admitted(&tuple)
		}
		cn.talk(ev.Time, serverFIN, podFIN)
		cn.lastServer = ev.Time
	}
	c.note(r, fct)
}

// opening takes an opening packet: a SYN, or the first packet of a protocol
// without one.
func (c *Correlator) opening(r ref, ev *Event) {
	cn, at := c.table.at(r), ev.Time
	if c.opened(cn, ev) {
		if cn.flags&(openedExactly|sawOpening) == 0 && ev.Flow.Reason == ReasonNew {
			cn.flags |= openedUntied
			c.early.push(r, cn.opened)
		}
		if cn.flags&(openedExactly|sawOpening) == openedExactly {
			cn.closedBeforeOpening()
		}
		cn.flags |= sawOpening
		return
	}
	why, known := sawOpening, cn.known
	if ev.Flow.Reason == ReasonNew {
		why |= openedUntied
		if cn.flags&openedTied == openedTied {
			known = cn.opened // of either; openedBefore finds out
		}
	}
	if why&openedUntied != 0 {
		c.early.push(r, at)
	}
	if cn.suspect != 0 {
		s := c.suspects.at(cn.suspect)
		if s.replaced && ev.Flow.Reason == ReasonReopened && at-c.lag.late <= s.at {
			s.harmless = true // it opened the one that was re-NATted
		}
		switch {
		case !c.opensSuspect(cn, s, why, at):
			c.decide(r) // the connection before this one
		case why&openedUntied == 0 || !c.insertsShown(s.since):
			s.closed = false // that was the connection before this one
		}
	}
	cn.begin(at, why)
	if why&openedUntied != 0 {
		cn.known = known // Hubble was late: the kernel has told of it already
	}
}

// opensSuspect reports whether an opening packet stamped at may be the
// suspect's own: the one that opened it, or the one that was re-NATted.
func (c *Correlator) opensSuspect(cn *conn, s *suspect, why connFlags, at int64) bool {
	switch {
	case s.replaced:
		return false
	case why&openedUntied != 0 && c.insertsShown(s.since):
		return true // it opened before it lost its entry
	case s.triggered == 0 && !s.reset && s.rule.shown && s.at-cn.lastPod > handshake && at <= s.at+maxLag:
		return true
	}
	return at <= s.at+c.lag.late
}

// insertsShown reports whether each tracking entry made since the kernel's time
// since for a connection that had lost an entry by then was seen. Those of
// others are withheld.
func (c *Correlator) insertsShown(since int64) bool {
	return c.tracked && c.losses.since(since).KernelEvents == 0
}

// opened reports whether an opening packet is that of the epoch that has begun
// already, by its tracking entry or another flow.
func (c *Correlator) opened(cn *conn, ev *Event) bool {
	switch {
	case cn.opened == 0:
		return false
	case cn.flags&openedExactly != 0 && ev.Flow.Reason == ReasonNew:
		return c.ties(cn, ev.Time)
	case cn.flags&openedExactly != 0 && ev.Flow.Reason == ReasonReopened:
		return false // by a packet that found a tracking entry
	}
	return ev.Time >= cn.opened-skewEarly && ev.Time <= cn.opened+skewLate ||
		cn.closed == 0 && cn.flags&sawAnswer != 0 && ev.Time-cn.opened <= c.lag.apart || ev.Flow.Reason == ReasonEstablished && !c.establishedBefore(cn, ev.Time)
}

// establishedBefore reports whether Hubble showed packets that establish the
// connection and were sent before one stamped at.
func (c *Correlator) establishedBefore(cn *conn, at int64) bool {
	return c.established(cn) && (cn.flags&sawAnswer != 0 || at-max(cn.lastPod, cn.lastServer) > breath+c.lag.apart)
}

// ties reports whether a flow stamped at, of which Cilium says NEW, shows the
// packet whose tracking entry began the epoch, and measures the lag by it.
func (c *Correlator) ties(cn *conn, at int64) bool {
	if cn.flags&openedExactly == 0 || cn.flags&sawOpening != 0 || at < cn.opened-skewEarly || at > cn.opened+maxLag {
		return false
	}
	if cn.known == 0 { // else it may be the packet that made the entry before
		c.lag.measure(at, cn.opened, cn.cpu)
	}
	return true
}

// retie takes a packet in mid-stream of which Cilium said NEW and for which no
// insert of a tracking entry was seen, if its connection has just opened by one:
// that was this packet's. The opening that was tied to it had an entry of its own,
// which was withheld or came before.
func (c *Correlator) retie(r ref) {
	cn := c.table.at(r)
	if cn.flags&openedTied != openedTied || cn.lastPod > cn.opened+maxLag || !c.insertsShown(cn.opened) {
		return
	}
	c.lag.measure(cn.lastPod, cn.opened, cn.cpu)
	cn.ended, cn.endedBy = 0, 0 // before that opening
	cn.flags &^= midstream
	c.continueUnseen(cn)
}

// retieOpening takes an opening for which no insert of a tracking entry was seen,
// and reports whether it was the one that the opening before had been tied to: that
// one's insert was withheld, or overtaken by this one's.
func (c *Correlator) retieOpening(cn *conn) bool {
	if cn.endedBy&openedTied != openedTied || cn.known == 0 || cn.opened > cn.known+maxLag || !c.insertsShown(cn.known) {
		return false
	}
	c.lag.measure(cn.opened, cn.known, cn.cpu)
	cn.opened, cn.known = cn.known, 0
	cn.flags = cn.flags&^openedUntied | openedExactly
	return true
}

// answered takes a server's SYN-ACK. It tells of an opening whose own packet
// Hubble lost when none is known that it could answer.
func (c *Correlator) answered(r ref, at int64) {
	cn := c.table.at(r)
	if cn.suspect != 0 {
		if s := c.suspects.at(cn.suspect); s.rule.replies && cn.opened != 0 && cn.flags&sawAnswer == 0 && at > s.at+c.lag.late && c.sentAgain(cn, at) {
			s.harmless = true // what was orphaned was this answer, which the server sent again
		}
	}
	opened, within := cn.opened, answer+c.lag.extra()
	switch {
	case opened == 0 && cn.flags&sawOpening != 0:
		opened = cn.known // it came before: see continueUnseen
	case cn.flags&openedExactly == 0:
		within = answer + c.lag.apart
	}
	known := opened != 0 && at-opened < within &&
		(cn.closed == 0 || cn.flags&sawAnswer == 0 && at-cn.closed <= breath+c.lag.apart)
	if cn.suspect != 0 {
		// It may answer what made the connection a suspect, unless that was so
		// soon after the opening that Hubble is only late with the answer to it.
		age := c.suspects.at(cn.suspect).at - opened
		known = known && (age <= 0 || age < c.lag.late && cn.flags&sawAnswer == 0)
	}
	if !known {
		why, known := connFlags(0), cn.known
		if cn.suspect != 0 && !c.opensSuspect(cn, c.suspects.at(cn.suspect), why, at) {
			c.decide(r) // the connection before this one
		}
		if cn.opened == 0 && max(cn.lastPod, cn.lastServer) == 0 {
			why |= openedUntied // the first that is heard of the connection
		}
		cn.begin(at, why)
		if why&openedUntied != 0 {
			cn.known = known
		}
	}
	cn.flags |= sawAnswer
}

// sentAgain reports whether a server's SYN-ACK may be one that it sent again, which it
// does after a second at the earliest.
func (c *Correlator) sentAgain(cn *conn, at int64) bool {
	return cn.flags&openedUntied == 0 || at-cn.opened >= int64(time.Second)-skewQuiet-c.lag.apart
}

// closing takes a FIN of either side, or a reset by the pod's application.
func (c *Correlator) closing(r ref, at int64, who connFlags, reset bool) {
	cn := c.table.at(r)
	if cn.suspect != 0 {
		s := c.suspects.at(cn.suspect)
		answers := reset && s.stray // the server, who does not know yet
		if !answers {
			s.ownReset = s.ownReset || reset && at-c.lag.late <= s.at
			s.harmless = s.harmless || s.rule.done(c, cn, s, at)
		}
	}
	cn.close(at, who)
}

// triggered takes a pod's packet that neither opens nor closes: near the time
// of the new mapping it is the one that was re-NATted.
func (c *Correlator) triggered(cn *conn, at int64) {
	if cn.suspect == 0 {
		return
	}
	if s := c.suspects.at(cn.suspect); s.triggered == 0 && c.shows(s, at) {
		s.triggered = at
	}
}

// name notes who the two sides are, as far as Hubble knows.
func (c *conn) name(pod, server *Peer) {
	if pod != nil {
		c.src = pod
	}
	if server != nil {
		c.dst = server
	}
}
