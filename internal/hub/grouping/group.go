// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"iter"
	"slices"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/verdict"
	"github.com/renat-project/renat/sinks/notification"
)

// State is what is stored of a group, so that another process can go on.
type State struct {
	// By and Values are the group's labels.
	By     []Label  `json:"by"`
	Values []string `json:"values"`
	// Number of notifications so far, and Total of incidents in them.
	Number int       `json:"number"`
	Total  int       `json:"total"`
	Began  time.Time `json:"began"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	// Notified is when the last notification was made, Announced when the
	// last one that was not an update.
	Notified  time.Time `json:"notified"`
	Announced time.Time `json:"announced"`
	Memo      string    `json:"memo,omitempty"`
	// Verdict and Incident are those of the last notification, which a refresh
	// repeats.
	Verdict  verdict.Verdict `json:"verdict,omitzero"`
	Incident string          `json:"incident,omitempty"`
	// Done are the incidents of the last notification: should one come again,
	// it is not new.
	Done Sequences `json:"done"`
	// Sending is a notification that may or may not have arrived.
	Sending *Sending `json:"sending,omitempty"`
	// Stream is when the stream was made whose sequences these are.
	Stream time.Time `json:"stream"`
}

// Sending is a notification on its way. It does not change any more.
type Sending struct {
	Notification notification.Notification `json:"notification"`
	Sequences    Sequences                 `json:"sequences"`
}

// held is an incident that waits.
type held struct {
	seq      uint64
	ack      string
	arrived  time.Time
	happened int64
	kind     incident.Kind
	cause    incident.Cause
	outcome  incident.Outcome
}

type group struct {
	id    string
	key   string
	state State
	// revision is that of the stored state; 0: none is stored.
	revision uint64
	pending  []held
	// where is the index in pending by sequence.
	where       map[uint64]int
	listed      []notification.Item
	listedBytes int
	// open says that the threshold was passed.
	open      bool
	forgotten bool
	// seen is when the last incident arrived, refreshed when a destination
	// was last told that there is nothing new.
	seen, refreshed time.Time
	sending         *Batch
	// recent are the incidents of the notifications before the last: copies
	// of them may have been on their way here when they were acknowledged.
	recent []Sequences
	// due is when something is to be done, zero: nothing is. index is the
	// place in the heap.
	due   time.Time
	index int
}

// maxRecent notifications of a group are remembered, besides the last.
const maxRecent = 16

// told reports whether a notification has told of the incident.
func (g *group) told(seq uint64) bool {
	return g.state.Done.Has(seq) || slices.ContainsFunc(g.recent, func(s Sequences) bool { return s.Has(seq) })
}

// Told are the sequences of the incidents that notifications have told of, as
// far as is remembered, or are about to.
func (g *Grouper) Told() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, gr := range g.groups {
			sets := append(slices.Clone(gr.recent), gr.state.Done)
			if gr.sending != nil {
				sets = append(sets, gr.sending.sequences)
			}
			for _, set := range sets {
				for _, seq := range set {
					if !yield(seq) {
						return
					}
				}
			}
		}
	}
}

// hold adds a message to what waits. It reports false if it waits already:
// then only its acknowledgement is new.
func (g *group) hold(now time.Time, m Message) bool {
	if n, ok := g.where[m.Sequence]; ok {
		g.pending[n].ack = m.Ack
		return false
	}
	if g.where == nil {
		g.where = map[uint64]int{}
	}
	g.where[m.Sequence] = len(g.pending)
	i := m.Incident
	g.pending = append(g.pending, held{
		seq: m.Sequence, ack: m.Ack, arrived: now, happened: i.Time.UnixNano(),
		kind:    incident.Known(i.Kind, incident.Kinds),
		cause:   incident.Known(i.Cause, incident.Causes),
		outcome: incident.Known(i.Outcome, incident.Outcomes),
	})
	g.seen = now
	return true
}

// list keeps an incident for the next notification.
func (g *group) list(item notification.Item, size int) {
	g.listed = append(g.listed, item)
	g.listedBytes += size
}

// dropBefore removes what arrived earlier than at, and returns its
// acknowledgements.
func (g *group) dropBefore(at time.Time) (acks []string) {
	kept := g.pending[:0]
	clear(g.where)
	for _, h := range g.pending {
		if h.arrived.Before(at) {
			acks = append(acks, h.ack)
			continue
		}
		g.where[h.seq] = len(kept)
		kept = append(kept, h)
	}
	clear(g.pending[len(kept):])
	g.pending = kept
	g.listed = slices.DeleteFunc(g.listed, func(item notification.Item) bool {
		_, ok := g.where[item.Sequence]
		return !ok
	})
	if len(g.listed) == 0 {
		g.listedBytes = 0 // of a part, the size is not known; it may stay too large
	}
	return acks
}

// tryOpen opens the group if it is to be told of by now.
func (g *group) tryOpen(r *Rule) {
	if g.open || r.Threshold <= 1 {
		g.open = true
		return
	}
	// Only what is near the newest can have become enough.
	times := make([]int64, 0, len(g.pending))
	newest := g.pending[len(g.pending)-1].happened
	for n := len(g.pending) - 1; n >= 0 && len(times) < 4*r.Threshold; n-- {
		if d := time.Duration(newest - g.pending[n].happened); d.Abs() <= r.Within {
			times = append(times, g.pending[n].happened)
		}
	}
	g.open = r.passes(times)
}

// next is when something is to be done about the group; zero: nothing is.
func (g *group) next(r *Rule, pressed bool) time.Time {
	switch {
	case g.sending != nil, g.forgotten:
		return time.Time{} // Done looks again
	case len(g.pending) > 0 && !g.open:
		return g.pending[0].arrived.Add(r.Within + grace)
	case len(g.pending) > 0:
		at := g.pending[0].arrived.Add(r.Wait)
		if g.state.Number > 0 && !pressed {
			at = later(at, g.state.Notified.Add(r.Interval))
		}
		return at
	case g.state.Number > 0 && g.refreshes(r):
		return later(g.state.Notified, g.refreshed).Add(r.Refresh)
	}
	return later(g.state.Notified, g.seen).Add(r.Repeat)
}

// refreshes reports whether a refresh is due before the group has gone quiet.
func (g *group) refreshes(r *Rule) bool {
	at := later(g.state.Notified, g.refreshed).Add(r.Refresh)
	return r.Refresh > 0 && at.Before(later(g.state.Notified, g.seen).Add(r.Interval))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
