// SPDX-License-Identifier: Apache-2.0

package correlator

// onMissing takes an entry that is not there although its connection is tracked.
// What is known of the entry since is better.
func (c *Correlator) onMissing(ev *Event) {
	n := &ev.NAT
	tuple, snat := ev.Tuple, n.To
	if n.Dir == In {
		tuple = Tuple{Src: n.To, Dst: ev.Tuple.Src, Protocol: ev.Tuple.Protocol}
		snat = ev.Tuple.Dst
	}
	r := c.connection(&tuple)
	cn := c.table.at(r)
	cn.mark(forHost(&tuple.Src, &snat))
	gone, twin := entry{&cn.outOp, &cn.outAt}, entry{&cn.inOp, &cn.inAt}
	if n.Dir == In {
		gone, twin = twin, gone
	}
	if *gone.op != 0 || *gone.at > ev.Time {
		return
	}
	if cn.snat.IsZero() {
		c.table.setSNAT(r, snat)
		if n.Created == 0 {
			cn.flags |= guessed
		}
	}
	if at := c.replacedAt[n.Map.IPv6()]; tookUnseen(at, cn, ev) {
		cn.replaced(at)
	} else {
		*gone.op, *gone.at = Missing, ev.Time
		if *twin.at == 0 {
			*twin.at = ev.Time // it is there, unless the next event says that it is not
		}
	}
	if cn.flags&openedExactly != 0 {
		return
	}
	known := ev.Time
	if tuple.Protocol == TCP {
		known -= handshake // it is established
	}
	if n.Created != 0 {
		known = min(known, n.Created)
	}
	cn.lasts(known)
}

// tookUnseen reports whether what is missing went with the whole map, replaced at
// a time: of a connection that had lost nothing until then the kernel's filter
// let no insert through.
func tookUnseen(at int64, cn *conn, ev *Event) bool {
	return at != 0 && ev.Time >= at && ev.Time-at <= replacedQuiet &&
		ev.NAT.Created == 0 && // an entry of it in the new map would be a younger pair's
		max(cn.opened, cn.outAt, cn.inAt) <= at
}

// entry is what is known of one of a connection's two entries.
type entry struct {
	op *Op    // what removed it
	at *int64 // when it changed last
}
