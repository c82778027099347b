// SPDX-License-Identifier: Apache-2.0

package correlator

// An egress gateway translates pods of other nodes, and a load balancer its
// clients. Hubble shows their packets there after translation only, and their
// servers' on the way to the other node. At other aggregation levels than
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
	if r != 0 && ev.Flow.Reason == ReasonUnknown && ev.Flow.Flags&SYN != 0 {
		if cn := c.table.at(r); cn.flags&sawOpening != 0 && !c.established(cn) {
			return // the same packet was shown before translation
		}
	}
	c.fromPod(&pre)
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
