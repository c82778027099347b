// SPDX-License-Identifier: Apache-2.0

package correlator

import "github.com/renat-project/renat/correlator/incident"

// onFlow takes a packet that Hubble saw.
func (c *Correlator) onFlow(ev *Event) {
	f := &ev.Flow
	if f.PostNAT {
		return // its tuple is no connection; the kernel's events have the ports
	}
	c.flowsSeen = true
	switch f.Point {
	case ToEndpoint:
		// Anything but a reply belongs to a connection that came to the pod.
		if f.Reason == ReasonReply {
			c.fromServer(ev)
		}
	case ToStack, ToNetwork:
		if f.Reason == ReasonReply {
			return
		}
		if f.Point == ToNetwork {
			key := ev.Tuple.Reverse()
			if r := c.table.lookupReply(&key); r != 0 {
				c.fromHost(r, ev)
				return
			}
		}
		c.fromPod(ev)
	case Dropped:
		if r := c.table.lookup(&ev.Tuple); r != 0 {
			c.note(r, fact{at: ev.Time, what: factDropped, n: f.DropReason})
		}
	}
}

// fromPod takes a pod's packet before translation.
func (c *Correlator) fromPod(ev *Event) {
	r := c.connection(&ev.Tuple)
	cn := c.table.at(r)
	cn.name(ev.Flow.Src, ev.Flow.Dst)
	flags, tcp := ev.Flow.Flags, ev.Tuple.Protocol == TCP
	switch {
	case tcp && (flags&SYN != 0 || ev.Flow.Reason == ReasonReopened), !tcp && ev.Flow.Reason == ReasonNew:
		c.opening(r, ev.Time)
		c.note(r, fact{at: ev.Time, what: factPodPacket, n: uint16(flags)})
		return
	case flags&(FIN|RST) != 0:
		c.closing(r, ev.Time, podFIN)
	default:
		if tcp && ev.Flow.Reason == ReasonNew && cn.flags&openedExactly != 0 && cn.opensAt(ev.Time) {
			cn.continueUnseen()
		}
		cn.talk(ev.Time, podFIN, serverFIN)
		cn.lastPod = ev.Time
		c.triggered(cn, ev.Time)
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
	fct := fact{at: ev.Time, what: factServerPacket, n: uint16(flags)}
	switch {
	case flags&RST != 0:
		if cn.suspect != 0 {
			c.confirm(r, fct)
			return
		}
		cn.close(ev.Time, closedByPeer)
	case flags&FIN != 0:
		c.closing(r, ev.Time, serverFIN)
		cn.lastServer = ev.Time
	case flags&SYN != 0:
		c.answered(r, ev.Time)
		cn.lastServer = ev.Time
	default:
		cn.talk(ev.Time, serverFIN, podFIN)
		cn.lastServer = ev.Time
	}
	c.note(r, fct)
}

// fromHost takes a packet that left the node from a translated address, so it
// is the host's own: the reset of a reply that found no entry, or a connection
// of the host that uses the port now.
func (c *Correlator) fromHost(r ref, ev *Event) {
	cn := c.table.at(r)
	fct := fact{at: ev.Time, what: factHostPacket, n: uint16(ev.Flow.Flags), addr: cn.snat}
	switch {
	case ev.Flow.Flags&SYN != 0:
		if cn.suspect != 0 && c.suspects.at(cn.suspect).kind == incident.OrphanedReply {
			c.suspects.at(cn.suspect).harmless = true
		}
		c.note(r, fct)
	case ev.Flow.Flags&RST == 0:
		c.note(r, fct)
	case cn.suspect != 0:
		c.confirm(r, fct)
	case cn.inOp != 0 && cn.flags&hostOwned == 0:
		// The host's insert was not seen, but its reset was.
		c.accuse(r, incident.OrphanedReply, ev)
		c.confirm(r, fct)
	}
}

// opening takes an opening packet: a SYN, or the first packet of a protocol
// without one.
func (c *Correlator) opening(r ref, at int64) {
	cn := c.table.at(r)
	if cn.opensAt(at) {
		cn.flags |= sawOpening
		return
	}
	if cn.suspect != 0 && at > c.suspects.at(cn.suspect).at+skewLate {
		c.decide(r) // the connection before this one
	}
	cn.begin(at, sawOpening)
}

// answered takes a server's SYN-ACK. It tells of an opening whose own packet
// Hubble lost when none is known that it could answer.
func (c *Correlator) answered(r ref, at int64) {
	cn := c.table.at(r)
	known := cn.opened != 0 && at-cn.opened < answer && cn.closed == 0
	if cn.suspect != 0 {
		// It may answer what made the connection a suspect, unless that was so
		// soon after the opening that Hubble is only late with the answer to it.
		age := c.suspects.at(cn.suspect).at - cn.opened
		known = known && (age <= 0 || age < skewLate && cn.flags&sawAnswer == 0)
	}
	if !known {
		cn.begin(at, sawOpening)
	}
	cn.flags |= sawAnswer
}

// closing takes a FIN of either side or an RST of the pod.
func (c *Correlator) closing(r ref, at int64, who connFlags) {
	cn := c.table.at(r)
	if cn.suspect != 0 {
		c.suspects.at(cn.suspect).closes(cn, at)
	}
	cn.close(at, who)
}

// triggered takes a pod's packet that neither opens nor closes: near the time
// of the new mapping it is the one that was re-NATted.
func (c *Correlator) triggered(cn *conn, at int64) {
	if cn.suspect == 0 {
		return
	}
	if s := c.suspects.at(cn.suspect); at >= s.at-skewEarly {
		s.triggered = true
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
