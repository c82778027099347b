// SPDX-License-Identifier: Apache-2.0

package correlator

import "time"

// The outcome timeout: a connection lost its mapping, no RST came, and what the
// pod sends is not answered, as where a firewall drops a stranger's packets.
//
//   - The pod asked: since the deciding event Hubble showed data of it, which TCP
//     acknowledges, or the same flags again, as retransmissions and probes have them.
//   - No packet of the server's was shown since, not even a dropped one.
//   - It would have been. Hubble shows a packet without new flags once in an interval
//     that is configured: two of one kind tell what it is at most. For longer than that
//     nothing of the server was shown, and no flow was lost.
//   - Hubble went on, with whatever flow: the newest it withholds until the next comes.
//   - It was waited for until the suspect's deadline, and for long enough after the pod
//     had asked.
//
// Whether there is an incident does not depend on it. The scenarios are
// testdata/timeout_*.txtar and testdata/harmless_unanswered_*.txtar.

const (
	// resent is how soon a packet may be sent again: the least retransmission
	// time-out (TCP_RTO_MIN in Linux is 200 ms), if Hubble stamps them unevenly.
	resent = int64(150 * time.Millisecond)
	// acknowledged is how soon data is acknowledged by a server half a second away
	// (RFC 1122 allows it half a second more).
	acknowledged = int64(time.Second)
	// usualSince is for how long it counts that the interval was seen to be the usual
	// one.
	usualSince = int64(10 * time.Minute)
)

// asked is what the pod of a suspect wants an answer to.
type asked struct {
	at       int64 // stamp of the first packet; 0 if it did not ask
	every    int64 // shortest time between two packets alike; 0 if there were none
	answered bool  // by a packet that was dropped
}

// asks takes a pod's packet that neither opens nor closes, before it is the last one.
func (c *Correlator) asks(cn *conn, ev *Event) {
	flags := uint8(ev.Flow.Flags) //nolint:gosec // all flags but NS
	if flags != 0 && ev.Flow.Point == ToNetwork {
		flags |= seenLater
	}
	again := ev.Flow.Reason != ReasonNew && cn.podFlags != 0 && cn.podFlags == flags
	cn.podFlags = flags
	gap := ev.Time - cn.lastPod
	again = again && gap >= resent
	if again && gap <= handshake {
		c.usualAt = ev.Time
	}
	if cn.suspect == 0 {
		return
	}
	s, a := c.suspects.at(cn.suspect), &c.suspects.at(cn.suspect).asked
	if again && (a.every == 0 || gap < a.every) {
		a.every = gap
	}
	early := s.at + c.lag.early
	switch {
	case a.at != 0 || ev.Time < early:
	case again && cn.lastPod >= early:
		a.at = cn.lastPod
	case ev.Flow.Flags&PSH != 0:
		a.at = ev.Time
	}
}

// unanswered reports whether the suspect, whose deadline has come, timed out.
func (c *Correlator) unanswered(s *suspect, cn *conn) bool {
	a := &s.asked
	if a.at == 0 || a.answered || s.replaced || cn.flags&host != 0 || cn.lastServer == 0 || cn.lastServer >= s.at+c.lag.early {
		return false
	}
	every := a.every
	if every == 0 || every > handshake {
		if a.at-c.usualAt > usualSince {
			return false
		}
		every = handshake
	}
	uneven := c.lag.late - c.lag.early
	shown := a.at - every - 2*uneven // a packet of the server's before does not hide its answer
	lost := c.losses.since(shown)
	return cn.lastServer < shown && c.lastFlow >= a.at+acknowledged+uneven &&
		lost.HubbleFlows == 0 && lost.HubbleUnseen == 0 && !lost.Unknown
}
