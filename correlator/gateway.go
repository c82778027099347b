// SPDX-License-Identifier: Apache-2.0

package correlator

// An egress gateway translates pods of other nodes. Hubble shows their packets there
// after translation only, and their servers' on the way to the other node. A load
// balancer translates its clients, whom Hubble shows at other aggregation levels than
// Helm's alone, after translation, and what their servers answer not at all. At other aggregation levels than
// Helm's every node shows its pods' packets after translation, too.

// translated takes a pod's packet after translation. Whose it is says the
// mapping of its port; where that is not known, the port was kept, as it is
// unless another connection has it.
func (c *Correlator) translated(ev *Event) {
	pre := *ev
	post := ev.Tuple
	post.Src.IP = ev.Flow.Xlated
	key := post.Reverse()
	r := c.table.lookupReply(&key)
	if r != 0 && c.table.at(r).tuple.Src.IP == ev.Tuple.Src.IP {
		pre.Tuple = c.table.at(r).tuple
	} else if r = c.table.lookup(&ev.Tuple); r != 0 && !c.sentFrom(c.table.at(r), post.Src) {
		return
	}
	if r != 0 && c.shownBefore(c.table.at(r), &ev.Flow) {
		return
	}
	c.fromPod(&pre)
}

// balanced takes a packet of a load balancer's client after translation, which
// Hubble shows from the node's address and, unlike those of the host, without a
// reason.
func (c *Correlator) balanced(r ref, ev *Event) {
	cn := c.table.at(r)
	if c.shownBefore(cn, &ev.Flow) {
		return
	}
	pre := *ev
	pre.Tuple, pre.Flow.Src = cn.tuple, nil
	c.fromPod(&pre)
}

// shownBefore reports whether an opening packet, shown without a reason, is the one
// that was shown before its translation.
func (c *Correlator) shownBefore(cn *conn, f *Flow) bool {
	return f.Reason == ReasonUnknown && f.Flags&SYN != 0 && cn.flags&sawOpening != 0 && !c.established(cn)
}

// sentFrom reports whether the connection's packets may have been translated to
// an address.
func (c *Correlator) sentFrom(cn *conn, snat Addr) bool {
	if cn.snat.IsZero() || cn.snat == snat {
		return true
	}
	return cn.suspect != 0 && c.suspects.at(cn.suspect).before == snat
}

// relayed takes a server's packet after its translation back, on its way to
// another node. What pods answer other nodes' pods looks the same, and is
// nothing that was translated.
func (c *Correlator) relayed(ev *Event) {
	tuple := ev.Tuple.Reverse()
	toPod := ev.Flow.Point == ToOverlay && (ev.Flow.Src == nil || ev.Flow.Src.Namespace == "")
	if toPod || c.table.lookup(&tuple) != 0 {
		c.fromServer(ev)
	}
}
