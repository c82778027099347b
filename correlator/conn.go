// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"math"
	"time"
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

	// Few flows ask for what follows: what most need lies together above.
	known    int64     // since when the epoch is known to last, where its start is not, or may last: see unheard; 0 if unknown
	ended    int64     // what closed was when the epoch began, or until the last packet showed the connection half open
	endedBy  connFlags // and the epochFlags, for continueUnseen
	podFlags uint8     // of the pod's last packet, if it neither opened nor closed, and seenLater; else 0
	cpu      cpu       // that made the tracking entry
	outAge   seconds   // how long the OUT entry had lasted when it was removed; 0 if unknown
	inAge    seconds   // the same of the IN entry
	collided int64     // last IN insert refused because the key existed (EEXIST)

	outAt, inAt int64 // last change of the entries
	outBy, inBy *Caller
}

// seenLater is set in conn.podFlags, which never has this flag, of a packet that Hubble
// showed where it left the node: shown twice, it is not sent twice.
const seenLater = uint8(FIN)

// seconds is a duration, the longest that it can tell when it was longer.
type seconds uint16

// age returns how long the entry that a removal removed had lasted.
func (ev *Event) age() seconds {
	if ev.NAT.Created == 0 || ev.NAT.Created > ev.Time {
		return 0
	}
	return seconds(min((ev.Time-ev.NAT.Created)/int64(time.Second), math.MaxUint16))
}

type connFlags uint16

const (
	openedExactly connFlags = 1 << iota // the kernel stamped conn.opened
	openedUntied                        // Hubble stamped it, said NEW, and no tracking entry's insert was seen
	sawOpening                          // Hubble showed the opening packet
	sawAnswer                           // Hubble showed the SYN-ACK
	midstream                           // Hubble said NEW of conn.lastPod, before the tracking entry's insert was seen
	podFIN                              // the pod sent its FIN
	serverFIN                           // the server sent its FIN
	closedByPeer                        // conn.closed is the server's RST
	outForced                           // the OUT entry was evicted although used of late
	inForced                            // the same of the IN entry
	hostOwned                           // the IN entry is the host's own now
	host                                // the tuple's source is the node's own address
	outBack                             // the OUT entry that was removed has been restored
	used                                // heard of since the table's hand passed
	broken                              // an incident was published for this epoch
	guessed                             // conn.snat is a survey's guess
)

// epochFlags are those that end with an epoch.
const epochFlags = openedExactly | openedUntied | sawOpening | sawAnswer | midstream | podFIN | serverFIN | closedByPeer | broken

// openedTied is of an epoch that a tracking entry began, and Hubble showed with what.
const openedTied = openedExactly | sawOpening

// mark notes whether the connection is the host's own.
func (c *conn) mark(isHost bool) {
	c.flags &^= host
	if isHost {
		c.flags |= host
	}
}

// replyKey is the key of the IN entry: what the server sends to.
func (c *conn) replyKey() Tuple {
	return Tuple{Src: c.tuple.Dst, Dst: c.snat, Protocol: c.tuple.Protocol}
}

// begin starts a new epoch.
func (c *conn) begin(at int64, why connFlags) {
	known := int64(0)
	if c.unheard() { // of that epoch nothing tells that it was another connection
		known = c.opened
	} else {
		c.ended, c.endedBy = c.closed, c.flags&epochFlags
	}
	c.flags = c.flags&^epochFlags | why
	c.opened, c.known = at, known
	c.closed = 0
}

// unheard reports whether the epoch began with a tracking entry and Hubble showed
// nothing of it.
func (c *conn) unheard() bool {
	return c.flags&(openedExactly|sawOpening|sawAnswer) == openedExactly && c.closed == 0 && max(c.lastPod, c.lastServer) < c.opened
}

// lasts notes that the epoch lasts since at, if it began unseen.
func (c *conn) lasts(at int64) {
	if c.known == 0 || at < c.known {
		c.known = at
	}
}

// lastLoss returns when the later of its entries went that are gone; 0 if none is.
func (c *conn) lastLoss() (at int64) {
	if c.outOp != 0 {
		at = c.outAt
	}
	if c.inOp != 0 {
		at = max(at, c.inAt)
	}
	return at
}

// endFlags tell of a connection's end, which its tracking entry does not outlive.
const endFlags = podFIN | serverFIN | closedByPeer | broken

// continueUnseen corrects an epoch that began with a connection tracking entry
// for a packet in mid-stream: the entry was new, the connection is not. What
// had ended stays so, and what was shown of its opening.
func (c *conn) continueUnseen() {
	c.flags = c.flags&^openedExactly | c.endedBy&(endFlags|sawOpening|sawAnswer)
	c.opened, c.known = 0, c.opened
	c.closed = max(c.closed, c.ended)
}

// closedBeforeOpening notes that what closed in this epoch, which a tracking entry began,
// was shown before the packet that made the entry: it was the connection's before.
func (c *conn) closedBeforeOpening() {
	if c.closed != 0 {
		c.ended, c.endedBy = c.closed, c.endedBy|c.flags&endFlags
		c.closed, c.flags = 0, c.flags&^(podFIN|serverFIN|closedByPeer)
	}
}

// close notes a FIN or RST.
func (c *conn) close(at int64, why connFlags) {
	c.closed = at
	c.flags |= why
}

// gone notes an RST without an ACK from the pod: the pod's kernel answers a packet
// of a connection that has ended there, by the server's RST or by what closed it
// before. An application's own RST has an ACK.
func (c *conn) gone(at int64) {
	if c.closed == 0 {
		c.closed = at
	}
}

// talk notes a packet of one side that closes nothing; theirs is the other
// side's FIN flag, ours this side's. A side that goes on talking after the
// other one's FIN keeps the connection half open.
func (c *conn) talk(at int64, ours, theirs connFlags) {
	switch {
	case c.flags&theirs == 0 || c.flags&(ours|closedByPeer) != 0:
	case c.closed == 0:
		c.ended = 0 // another packet told before
	case at > c.closed+halfOpen:
		c.ended, c.closed = c.closed, 0
	}
}

// closedBefore returns when it had closed before the pod's packet at early or
// later, which is not what kept it half open.
func (c *conn) closedBefore(early int64) int64 {
	if c.closed == 0 && c.flags&serverFIN != 0 && c.lastPod >= early {
		return c.ended
	}
	return c.closed
}

// failedLongAgo reports whether the connection that failed is not the one whose
// entry a removal shows: its mapping is another, or its tracking entry, renewed
// by the last packet that was heard of, has expired since.
func (c *conn) failedLongAgo(ev *Event, kept int64) bool {
	if ev.NAT.Dir == Out && !ev.NAT.To.IsZero() && ev.NAT.To != c.snat {
		return true
	}
	return ev.Time-max(c.outAt, c.inAt, c.closed, c.lastPod, c.lastServer) > kept
}
