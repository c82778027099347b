// SPDX-License-Identifier: Apache-2.0

package correlator

import "github.com/renat-project/renat/correlator/incident"

// onNAT takes a change of a NAT or CT map.
func (c *Correlator) onNAT(ev *Event) {
	n := &ev.NAT
	if n.Op == Replaced {
		c.onReplaced(ev)
		return
	}
	if n.Map.CT {
		if n.Op == Insert && n.Dir == Out && n.Errno == 0 {
			c.onTracked(ev)
		}
		return
	}
	switch {
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
	if cn.suspect != 0 {
		c.replace(r, ev.Time)
	}
	why := openedExactly
	if ev.Time-cn.opened <= skewEarly {
		why |= cn.flags & sawOpening // its flow was stamped first
	}
	cn.begin(ev.Time, why)
	c.opens.push(r, ev.Time)
}

// onOutInsert takes a new translation of a pod's packets.
func (c *Correlator) onOutInsert(ev *Event) {
	n := &ev.NAT
	if n.Errno != 0 || forHost(&ev.Tuple.Src, &n.To) {
		return
	}
	r := c.connection(&ev.Tuple)
	cn := c.table.at(r)
	moved := !cn.snat.IsZero() && cn.snat != n.To
	if moved {
		c.accuse(r, incident.Renat, ev)
	}
	if moved || cn.snat.IsZero() {
		cn.inserted(ev) // just before it
	}
	c.table.setSNAT(r, n.To)
	cn.outOp, cn.outAt, cn.outBy = 0, ev.Time, n.Caller
	if moved {
		c.settle(r)
	}
}

// onInInsert takes a new translation of a server's replies.
func (c *Correlator) onInInsert(ev *Event) {
	n := &ev.NAT
	if forHost(&n.To, &ev.Tuple.Dst) {
		if n.Errno == 0 && n.To == ev.Tuple.Dst {
			if r := c.table.lookupReply(&ev.Tuple); r != 0 {
				c.accuse(r, incident.OrphanedReply, ev)
				c.table.at(r).flags |= hostOwned
				c.settle(r)
			}
		}
		return
	}
	tuple := Tuple{Src: n.To, Dst: ev.Tuple.Src, Protocol: ev.Tuple.Protocol}
	r := c.connection(&tuple)
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
	switch {
	case n.To.IsZero():
		r = c.table.lookup(&ev.Tuple)
	case !forHost(&ev.Tuple.Src, &n.To):
		r = c.connection(&ev.Tuple)
	}
	if r == 0 {
		return
	}
	cn := c.table.at(r)
	if n.Op == Delete && cn.outOp != 0 {
		return // it was gone already: recordings show deletes at their entry
	}
	if !n.To.IsZero() && cn.snat != n.To {
		c.table.setSNAT(r, n.To)
	}
	cn.outOp, cn.outAt, cn.outBy = n.Op, ev.Time, n.Caller
	cn.flags &^= outForced
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
	}
	if r == 0 {
		return
	}
	cn := c.table.at(r)
	if cn.snat != ev.Tuple.Dst || n.Op == Delete && cn.inOp != 0 {
		return // of an earlier mapping, or gone already
	}
	cn.inOp, cn.inAt, cn.inBy = n.Op, ev.Time, n.Caller
	cn.flags &^= inForced
	if n.Forced {
		cn.flags |= inForced
	}
}

// onReplaced takes the replacement of a NAT map by an empty one: every entry
// of its IP version is gone.
func (c *Correlator) onReplaced(ev *Event) {
	if ev.NAT.Map.CT {
		return
	}
	v6 := ev.NAT.Map.IPv6()
	for r := ref(1); r <= c.table.live; r++ {
		cn := c.table.at(r)
		if cn.snat.IsZero() || cn.snat.AddrPort().Addr().Is6() != v6 {
			continue
		}
		cn.outOp, cn.outAt, cn.outBy = Replaced, ev.Time, nil
		cn.inOp, cn.inAt, cn.inBy = Replaced, ev.Time, nil
		cn.flags &^= outForced | inForced
	}
}
