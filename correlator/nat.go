// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"cmp"
	"time"
)

// onNAT takes a change of a NAT or CT map.
func (c *Correlator) onNAT(ev *Event) {
	n := &ev.NAT
	if n.Op == Replaced {
		c.onReplaced(ev)
		return
	}
	if n.Map.CT {
		switch {
		case n.Op != Insert:
			c.onUntracked(ev)
		case n.Dir == Out && n.Errno == 0:
			c.onTracked(ev)
		}
		return
	}
	switch {
	case n.Op == Missing:
		c.onMissing(ev)
	case n.Op == Insert && n.Dir == Out:
		c.onOutInsert(ev)
	case n.Op == Insert:
		c.onInInsert(ev)
	default:
		if n.Op == Evict {
			c.maps.evicted(n.Map, ev.Time)
		}
		if n.Errno != 0 {
			return // nothing was removed
		}
		if n.Dir == Out {
			c.onOutRemoval(ev)
		} else {
			c.onInRemoval(ev)
		}
	}
}

// forHost reports whether the entry translates the host's own connection: it
// keeps the address and at most changes the port.
func forHost(inside, snat *Addr) bool { return inside.IP == snat.IP }

// onTracked takes the creation of a connection tracking entry, which a new
// connection always brings and a living one only when its entry had gone.
func (c *Correlator) onTracked(ev *Event) {
	r := c.connection(&ev.Tuple)
	cn := c.table.at(r)
	c.trackedAgain(r)
	c.tracked = true
	if cn.flags&midstream != 0 && ev.Time-cn.lastPod <= skewEarly { // its flow was stamped first
		c.lag.measure(cn.lastPod, ev.Time, ev.cpu())
		cn.flags &^= midstream
		if cn.flags&openedExactly == 0 {
			cn.lasts(ev.Time)
		}
		return
	}
	if cn.suspect != 0 {
		c.replace(r, ev.Time)
	}
	why := openedExactly
	if cn.flags&openedUntied != 0 && ev.Time-cn.opened <= skewEarly { // so was its
		why |= sawOpening | cn.flags&sawAnswer
		c.lag.measure(cn.opened, ev.Time, ev.cpu())
	}
	cn.begin(ev.Time, why)
	cn.cpu = ev.cpu()
	c.opens.push(r, ev.Time)
}

// onOutInsert takes a new translation of a pod's packets, or the host's.
func (c *Correlator) onOutInsert(ev *Event) {
	n := &ev.NAT
	if n.Errno != 0 {
		return
	}
	r := c.connection(&ev.Tuple)
	cn := c.table.at(r)
	cn.mark(forHost(&ev.Tuple.Src, &n.To))
	wrong := cn.flags&guessed != 0 && cn.snat.IP != n.To.IP
	if wrong {
		c.table.setSNAT(r, Addr{})
	}
	cn.flags &^= guessed
	moved := !cn.snat.IsZero() && cn.snat != n.To
	switch {
	case moved:
		c.notice(r, outMoved, ev)
	case cn.outOp != 0 && cn.opened <= cn.outAt && !cn.snat.IsZero():
		// Restored. Whoever looked it up in vain before that may yet overwrite
		// it with another port: what removed it is still the cause.
		cn.flags |= outBack
		return
	case cn.outAt == 0 && cn.opened == 0:
		cn.known = ev.Time // its first packet may be the one that made the entry
	}
	if (moved || wrong) && max(cn.inAt, cn.collided) != 0 {
		cn.inserted(ev) // just before it
	}
	c.table.setSNAT(r, n.To)
	cn.outOp, cn.outAt, cn.outBy = 0, ev.Time, n.Caller
	cn.flags &^= outForced | outBack
	if moved {
		c.settle(r)
	}
}

// onInInsert takes a new translation of a server's replies.
func (c *Correlator) onInInsert(ev *Event) {
	n := &ev.NAT
	tuple := Tuple{Src: n.To, Dst: ev.Tuple.Src, Protocol: ev.Tuple.Protocol}
	var r ref
	if forHost(&n.To, &ev.Tuple.Dst) {
		if owner := c.table.lookupReply(&ev.Tuple); owner != 0 && n.Errno == 0 && n.To == ev.Tuple.Dst {
			c.notice(owner, inHosted, ev)
		}
		if r = c.table.lookup(&tuple); r == 0 || c.table.at(r).flags&host == 0 {
			return // the OUT insert that follows tells of the host's connection
		}
	} else {
		r = c.connection(&tuple)
	}
	cn := c.table.at(r)
	switch {
	case n.Errno != 0:
		if cn.snat == ev.Tuple.Dst {
			cn.collided = ev.Time
		}
	case cn.snat.IsZero(), cn.snat == ev.Tuple.Dst:
		c.table.setSNAT(r, ev.Tuple.Dst) // it may have been another's in between
		cn.inserted(ev)
	}
	// An entry for another port only counts with the OUT insert that follows.
}

// inserted notes that the IN entry is there.
func (c *conn) inserted(ev *Event) {
	c.inOp, c.inAt, c.inBy = 0, ev.Time, ev.NAT.Caller
	c.flags &^= hostOwned | inForced
}

// onOutRemoval takes the loss of the translation of a pod's packets.
func (c *Correlator) onOutRemoval(ev *Event) {
	n := &ev.NAT
	var r ref
	if n.To.IsZero() {
		r = c.table.lookup(&ev.Tuple)
	} else {
		r = c.connection(&ev.Tuple)
	}
	if r == 0 {
		return
	}
	cn := c.table.at(r)
	if !n.To.IsZero() {
		cn.mark(forHost(&ev.Tuple.Src, &n.To))
	}
	if cn.outOp != 0 && cn.flags&outBack == 0 && c.foundNothing(ev, cn.outAt) {
		return
	}
	c.removed(cn, ev)
	if !n.To.IsZero() && cn.snat != n.To {
		c.table.setSNAT(r, n.To)
	}
	cn.outOp, cn.outAt, cn.outBy, cn.outAge = n.Op, ev.Time, n.Caller, ev.age()
	cn.flags &^= outForced | outBack
	if n.Forced {
		cn.flags |= outForced
	}
}

// onInRemoval takes the loss of the translation of a server's replies.
func (c *Correlator) onInRemoval(ev *Event) {
	n := &ev.NAT
	var r ref
	switch {
	case n.To.IsZero():
		r = c.table.lookupReply(&ev.Tuple)
	case !forHost(&n.To, &ev.Tuple.Dst):
		tuple := Tuple{Src: n.To, Dst: ev.Tuple.Src, Protocol: ev.Tuple.Protocol}
		if r = c.connection(&tuple); c.table.at(r).snat.IsZero() {
			c.table.setSNAT(r, ev.Tuple.Dst)
		}
	default:
		tuple := Tuple{Src: n.To, Dst: ev.Tuple.Src, Protocol: ev.Tuple.Protocol}
		r = c.table.lookup(&tuple)
	}
	if r == 0 {
		return
	}
	cn := c.table.at(r)
	if cn.snat != ev.Tuple.Dst || cn.inOp != 0 && c.foundNothing(ev, cn.inAt) {
		return // of an earlier mapping, or gone already
	}
	c.removed(cn, ev)
	cn.inOp, cn.inAt, cn.inBy, cn.inAge = n.Op, ev.Time, n.Caller, ev.age()
	cn.flags &^= inForced
	if n.Forced {
		cn.flags |= inForced
	}
}

// withheldAfter is how long after an entry's removal the kernel's filter still
// lets the connection's inserts through, unless Remembers tells: Cilium keeps a
// silent connection's tracking entry for 8,000 s. An entry may be back since
// without a word.
const withheldAfter = int64(8100 * time.Second)

// foundNothing reports whether a removal met no entry, which was gone since: a
// recording's deletes are seen at their entry, without the value.
func (c *Correlator) foundNothing(ev *Event, since int64) bool {
	return ev.NAT.Op == Delete && ev.NAT.To.IsZero() && ev.Time-since < c.remembers
}

// removed takes what the removal of one of the connection's entries says of it.
func (c *Correlator) removed(cn *conn, ev *Event) {
	if cn.flags&broken != 0 && cn.failedLongAgo(ev, c.remembers) {
		cn.begin(0, 0) // another connection, whose opening was withheld
	}
	if cn.flags&openedExactly == 0 {
		cn.lasts(cmp.Or(ev.NAT.Created, ev.Time))
	}
}

// onReplaced takes the replacement of a NAT map by an empty one: every entry
// of its IP version is gone.
func (c *Correlator) onReplaced(ev *Event) {
	if ev.NAT.Map.CT {
		return
	}
	v6 := ev.NAT.Map.IPv6()
	if len(c.was) >= maxReplacements {
		clear(c.was)
	}
	c.was[ending{ev.Time, v6}] = ev.NAT.Map.Was
	c.replacedAt[v6] = ev.Time
	for r := ref(1); r <= c.table.live; r++ {
		cn := c.table.at(r)
		if !cn.snat.IsZero() && cn.snat.AddrPort().Addr().Is6() == v6 {
			cn.replaced(ev.Time)
		}
	}
}

// replaced notes that its entries went with their map. What had gone before went
// by what removed it then.
func (c *conn) replaced(at int64) {
	if c.outOp == 0 || c.flags&outBack != 0 {
		c.outOp, c.outAt, c.outBy, c.outAge = Replaced, at, nil, 0
		c.flags &^= outForced | outBack
	}
	if c.inOp == 0 {
		c.inOp, c.inAt, c.inBy, c.inAge = Replaced, at, nil, 0
		c.flags &^= inForced
	}
}
