// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// suspect is a connection whose mapping was lost and came back in a way that
// breaks it. Suspects are few; each keeps the evidence for its verdict.
type suspect struct {
	conn  ref
	rule  *rule
	at    int64  // the deciding event: new mapping, orphaned reply
	stamp uint64 // the same on the kernel's monotonic clock, else at
	cpu   cpu    // where it happened, if rule.shown

	cause     incident.Cause
	deletedBy string
	removedAt int64         // 0 if not seen
	due       int64         // when to publish it because of its RST; 0 if that was not seen
	triggered int64         // when the pod's packet that was re-NATted was stamped; 0 if it was not seen
	since     int64         // last change of the entry before at: an epoch opened after it is new
	left      time.Duration // of the tracking entry; 0 if it is not that
	forced    bool
	program   string
	before    Addr
	after     Addr // zero for an orphaned reply

	closed    bool // the connection had closed before
	harmless  bool // later events explain it away
	proven    bool // the kernel's events alone show that the connection was cut
	reset     bool // the RST was seen
	mute      bool // the pod sent nothing between since and at, or its OUT entry had come back
	ownReset  bool // the pod's RST may be the packet that was re-NATted: it gets no answer
	stray     bool // its RST shows that the server did not know a packet that was no opening
	replaced  bool // a new connection began on its tuple before Hubble told of this one's end
	guiltless bool // the rules acquitted it when it was replaced

	waited bool // its deadline has come
	asked  asked

	m     *Map
	rate  float64 // evictions per second before
	facts []fact

	older, newer ref // the queue by at; newer also chains free ones
}

const (
	// sparedFacts is how much room for evidence a suspect's place keeps.
	sparedFacts = 8
	// maxExtraFacts is how much evidence beyond that all suspects together keep:
	// when a replaced map makes a suspect of every connection, 12 MiB.
	maxExtraFacts = 1 << 18
	// sparedSuspects is how many places of suspects are kept when there are none.
	sparedSuspects = 1 << 10
)

// suspects is the queue of suspects, oldest first, and their storage.
type suspects struct {
	all    []*suspect // number 0 is unused
	free   ref
	oldest ref
	newest ref
	count  int
	extra  int // facts beyond sparedFacts
}

func (q *suspects) at(r ref) *suspect { return q.all[r] }

// add returns the number of a fresh suspect at the end of the queue.
func (q *suspects) add() ref {
	if q.all == nil {
		q.all = append(q.all, nil)
	}
	r := q.free
	if r != 0 {
		q.free = q.at(r).newer
	} else {
		q.all = append(q.all, &suspect{})
		r = ref(len(q.all) - 1)
	}
	*q.at(r) = suspect{facts: q.at(r).facts[:0], older: q.newest}
	if q.newest != 0 {
		q.at(q.newest).newer = r
	} else {
		q.oldest = r
	}
	q.newest = r
	q.count++
	return r
}

// full reports whether s may get no more evidence. One place stays free for the
// RST.
func (q *suspects) full(s *suspect) bool {
	return len(s.facts) >= incident.MaxEvidence-1 || len(s.facts) >= sparedFacts && q.extra >= maxExtraFacts
}

// tell adds a fact to a suspect's evidence.
func (q *suspects) tell(s *suspect, f fact) {
	if len(s.facts) >= sparedFacts {
		q.extra++
	}
	s.facts = append(s.facts, f)
}

func (q *suspects) remove(r ref) {
	s := q.at(r)
	if s.older != 0 {
		q.at(s.older).newer = s.newer
	} else {
		q.oldest = s.newer
	}
	if s.newer != 0 {
		q.at(s.newer).older = s.older
	} else {
		q.newest = s.older
	}
	q.extra -= max(0, len(s.facts)-sparedFacts)
	facts := s.facts[:0]
	if cap(facts) > sparedFacts {
		facts = nil // a storm's worth of evidence is not kept for the next one
	}
	clear(s.facts)
	*s = suspect{facts: facts, newer: q.free}
	q.free = r
	q.count--
	if q.count == 0 && len(q.all) > sparedSuspects {
		*q = suspects{} // a storm's worth of places, neither
	}
}
