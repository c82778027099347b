// SPDX-License-Identifier: Apache-2.0

package correlator

import "time"

// Lacking is a connection that lives and lost an entry of its mapping, as far as
// the events tell, and has not broken yet.
type Lacking struct {
	Tuple    Tuple // pre-NAT, pod to server
	SNAT     Addr  // the server knows it by; zero if unknown
	Src, Dst *Peer // nil if Hubble never named them
	Since    int64 // when the entry was lost
	// HostNetwork: the tuple's source is the node's own address.
	HostNetwork bool
}

// lasting is how long an exchange without handshakes must have gone on to be
// more than a question and its answer.
const lasting = int64(time.Second)

// Lack calls each with those of n connections, beginning at number from, that
// lack an entry. It returns the number to go on with; 0: that were all.
func (c *Correlator) Lack(from, n int, each func(*Lacking)) (next int) {
	end := min(from+n, int(c.table.live))
	for r := ref(from) + 1; r <= ref(end); r++ {
		if cn := c.table.at(r); c.lacks(cn) {
			each(&Lacking{Tuple: cn.tuple, SNAT: cn.snat, Src: cn.src, Dst: cn.dst, Since: cn.lostAt(), HostNetwork: cn.flags&host != 0})
		}
	}
	if end == int(c.table.live) {
		return 0
	}
	return end
}

func (c *Correlator) lacks(cn *conn) bool {
	switch {
	case !cn.outGone() && cn.inOp == 0,
		cn.closed != 0, cn.suspect != 0, cn.flags&(broken|hostOwned) != 0:
		return false
	case cn.flags&host != 0 && !cn.outGone() && (cn.snat.IsZero() || cn.snat == cn.tuple.Src):
		return false // its replies reach it all the same
	case cn.outOp == Missing || cn.inOp == Missing:
		return true // who found that knew that it is established
	case cn.tuple.Protocol != TCP:
		return max(cn.lastPod, cn.lastServer)-cn.opened >= lasting
	}
	return c.established(cn)
}

// outGone reports whether the OUT entry was removed and is not back.
func (c *conn) outGone() bool { return c.outOp != 0 && c.flags&outBack == 0 }

// lostAt is when the first of the entries was lost that are.
func (c *conn) lostAt() int64 {
	switch {
	case !c.outGone():
		return c.inAt
	case c.inOp == 0:
		return c.outAt
	}
	return min(c.outAt, c.inAt)
}
