// SPDX-License-Identifier: Apache-2.0

package correlator

import "github.com/renat-project/renat/correlator/incident"

// rule is one kind of incident: what makes a connection a suspect of it, and
// what is particular in judging one. Each has a file of its own, which begins
// with the rule in words; judge.go has what they share.
type rule struct {
	kind incident.Kind
	// unreset is the outcome without an RST; empty: unconfirmed.
	unreset incident.Outcome
	// on are the changes that notice is called with.
	on change
	// notice accuses the connection if the change that ev made is the rule's.
	notice func(c *Correlator, own *rule, r ref, what change, ev *Event)
	// lost returns the entry whose removal is to blame.
	lost func(*Correlator, ref) removal
	// decided is the evidence that a deciding kernel event gives.
	decided func(ev *Event) fact
	// proven reports whether the kernel's events alone show that the
	// connection was cut, if it is older than age.
	proven func(*conn, *suspect, *Event) bool
	// shown says that the deciding event was a packet of the pod, which Hubble
	// shows after it was silent for a while.
	shown bool
	// replies says that the entry is the one by which the server's packets reach
	// the pod.
	replies bool
	// answersPod says that the RST answers the pod's packet of the deciding event.
	answersPod bool
	// atOnce says that a packet which opens a connection may be all of the loss and the
	// deciding event.
	atOnce bool
	// age is how old a connection must be that no flow shows to have been
	// established, in nanoseconds.
	age int64
	// done reports whether what closes, a FIN or the pod's RST stamped at, says
	// that the application was done before it was cut.
	done func(c *Correlator, cn *conn, s *suspect, at int64) bool
	// survived reports whether the connection went on after all.
	survived func(c *Correlator, cn *conn, s *suspect) bool
}

// rules are all kinds of incidents.
var rules = [...]*rule{&renat, &orphanedReply, &trackingLost, &egressChanged}

// change is what happened to a connection, as a set for rule.on.
type change uint8

const (
	outMoved  change = 1 << iota // the OUT entry came back, or was overwritten, with another address or port
	inHosted                     // the IN entry came back as the host's own
	hostSpoke                    // Hubble showed a packet from the SNAT address that is the host's own
	denied                       // Hubble showed that policy dropped a packet of it
)

// notice tells the rules of a change that ev made.
func (c *Correlator) notice(r ref, what change, ev *Event) {
	for _, rule := range rules {
		if rule.on&what != 0 {
			rule.notice(c, rule, r, what, ev)
		}
	}
}

// removal is how an entry went; op is 0 while it is there.
type removal struct {
	op     Op
	at     int64 // the entry's last change
	by     *Caller
	forced bool
}

func (c *Correlator) outRemoval(r ref) removal {
	cn := c.table.at(r)
	return removal{cn.outOp, cn.outAt, cn.outBy, cn.flags&outForced != 0}
}

func (c *Correlator) inRemoval(r ref) removal {
	cn := c.table.at(r)
	return removal{cn.inOp, cn.inAt, cn.inBy, cn.flags&inForced != 0}
}
