// SPDX-License-Identifier: Apache-2.0

package correlator

import "time"

// How far the two clocks differ. Hubble stamps a flow when the agent reads it:
// that was 10 ms before to 125 ms after the kernel's stamp of the same packet
// in recordings of Cilium 1.15 and 1.20.
const (
	skewEarly = int64(20 * time.Millisecond)
	skewLate  = int64(250 * time.Millisecond)
)

// answer is how soon after its first SYN a SYN-ACK comes, if it comes: two
// retransmissions of the SYN, after 1 s and 3 s (RFC 6298), and half a second
// for the way. A reply orphaned later is not the one that would have
// established the connection.
const answer = int64(3500 * time.Millisecond)

// handshake is how long after a SYN that Hubble showed another one may pass
// unseen: at medium aggregation it is reported every 5 s (CT_REPORT_INTERVAL in
// Cilium's datapath). A packet re-NATted later is not such a SYN.
const handshake = int64(6 * time.Second)

// halfOpen is how long after one side's FIN the other side must still talk for
// the connection to be half open rather than closing.
const halfOpen = int64(time.Second)

// conn is one connection of a pod, with what is known of its current epoch:
// the time since its tuple was last opened. All times are Unix nanoseconds, 0
// is never. It is kept small: there is one for every connection of the node.
type conn struct {
	tuple Tuple // pre-NAT, pod to server
	snat  Addr  // the translated source, current or last; zero if unknown
	flags connFlags
	outOp Op // what removed the OUT entry; 0 while it is there or unknown
	inOp  Op // the same of the IN entry

	suspect ref // 0 if none

	src, dst *Peer // nil if Hubble never named them

	opened     int64 // start of the epoch, 0 if it began unseen
	closed     int64 // last FIN or RST, 0 if none
	lastPod    int64 // last packet of the pod that neither opens nor closes
	lastServer int64 // last packet of the server that does not reset
	collided   int64 // last IN insert refused because the key existed (EEXIST)

	outAt, inAt int64 // last change of the entries
	outBy, inBy *Caller
}

type connFlags uint16

const (
	openedExactly connFlags = 1 << iota // the kernel stamped conn.opened
	sawOpening                          // Hubble showed the opening packet
	sawAnswer                           // Hubble showed the SYN-ACK
	podFIN                              // the pod sent its FIN
	serverFIN                           // the server sent its FIN
	closedByPeer                        // conn.closed is the server's RST
	outForced                           // the OUT entry was evicted although in use
	inForced                            // the same of the IN entry
	hostOwned                           // the IN entry is the host's own now
	used                                // heard of since the table's hand passed
	broken                              // an incident was published for this epoch
)

// epochFlags are those that end with an epoch.
const epochFlags = openedExactly | sawOpening | sawAnswer | podFIN | serverFIN | closedByPeer | broken

// replyKey is the key of the IN entry: what the server sends to.
func (c *conn) replyKey() Tuple {
	return Tuple{Src: c.tuple.Dst, Dst: c.snat, Protocol: c.tuple.Protocol}
}

// begin starts a new epoch.
func (c *conn) begin(at int64, why connFlags) {
	c.flags = c.flags&^epochFlags | why
	c.opened = at
	c.closed = 0
}

// opensAt reports whether an opening packet that Hubble stamped at opens the
// epoch that has begun already.
func (c *conn) opensAt(at int64) bool {
	return c.opened != 0 && at >= c.opened-skewEarly && at <= c.opened+skewLate
}

// continueUnseen corrects an epoch that began with a connection tracking entry
// for a packet in mid-stream: the entry was new, the connection is not.
func (c *conn) continueUnseen() {
	c.flags &^= openedExactly
	c.opened = 0
}

// established reports whether Hubble showed packets beyond the opening one.
func (c *conn) established() bool { return max(c.lastPod, c.lastServer) > c.opened }

// close notes a FIN or RST.
func (c *conn) close(at int64, why connFlags) {
	c.closed = at
	c.flags |= why
}

// talk notes a packet of one side that closes nothing; theirs is the other
// side's FIN flag, ours this side's. A side that goes on talking after the
// other one's FIN keeps the connection half open.
func (c *conn) talk(at int64, ours, theirs connFlags) {
	if c.flags&theirs != 0 && c.flags&(ours|closedByPeer) == 0 && c.closed != 0 && at > c.closed+halfOpen {
		c.closed = 0
	}
}
