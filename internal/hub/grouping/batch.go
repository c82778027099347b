// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/verdict"
	"github.com/renat-project/renat/sinks/notification"
)

// Batch is a notification that is ready to be sent. A group has one at a time.
type Batch struct {
	Notification notification.Notification
	// Key names the group's state and Revision is what it is stored at.
	Key      string
	Revision uint64
	// Before is the state to store before the notification is sent, After the
	// one to store when it has been, but for the memo. A Refresh has neither.
	Before, After State

	group     *group
	sequences Sequences
	acks      []string // of sequences; "" is one that has not come (again) yet
}

// newBatch makes the batch of n for gr. The sequences must be sorted.
func newBatch(gr *group, n notification.Notification, seqs Sequences, acks []string) *Batch {
	b := &Batch{Notification: n, Key: gr.id, Revision: gr.revision, group: gr, sequences: seqs, acks: acks, Before: gr.state, After: gr.state}
	b.Before.Sending = &Sending{Notification: n, Sequences: seqs}
	a := &b.After
	a.Sending, a.Done = nil, seqs
	a.Number++
	a.Total, a.Began, a.First, a.Last = n.Group.Total, n.Group.Began, n.Group.First, n.Group.Last
	a.Notified, a.Verdict, a.Incident = n.At, n.Verdict, n.Group.Incident
	if n.Reason != notification.Update {
		a.Announced = n.At
	}
	return b
}

// Shrink makes a batch that is too large to be stored smaller: it lists half as
// many incidents, then none, and says less. false: it says little already. The
// batch must not have been sent.
func (b *Batch) Shrink() bool {
	n := &b.Notification
	switch {
	case len(n.Incidents) > 0:
		n.Incidents = n.Incidents[:len(n.Incidents)/2]
		n.More = n.Count - len(n.Incidents)
	case len(n.Text) > maxString:
		n.Text = notification.Cut(n.Text, maxString)
	default:
		return false
	}
	b.Before.Sending = &Sending{Notification: *n, Sequences: b.sequences}
	return true
}

// attach notes how to acknowledge an incident of the batch that came again.
func (b *Batch) attach(m Message) bool {
	n, ok := slices.BinarySearch(b.sequences, m.Sequence)
	if ok {
		b.acks[n] = m.Ack
	}
	return ok
}

// Work is what Take found to do: one of its fields is set.
type Work struct {
	// Batch is to be sent, and Done to be called when it has been.
	Batch *Batch
	// Acks are of incidents that stayed below the threshold.
	Acks []string
	// Forget is a group without news for long: remove its state.
	Forget *Forgotten
}

// Forgotten is a group whose state is stored for nothing.
type Forgotten struct {
	Key      string
	Revision uint64
}

// Take returns what is to be done by now, one thing each time; ok is false
// when there is nothing more.
func (g *Grouper) Take(now time.Time) (w Work, ok bool) {
	if len(g.queue) == 0 || g.queue[0].due.After(now) {
		return Work{}, false
	}
	gr := g.queue[0]
	defer g.schedule(gr)
	switch {
	case len(gr.pending) > 0 && !gr.open:
		return Work{Acks: g.drop(gr, now)}, true
	case len(gr.pending) > 0:
		gr.sending = g.notify(gr, now)
		return Work{Batch: gr.sending}, true
	case gr.state.Number > 0 && gr.refreshes(&g.rule):
		gr.sending = g.refresh(gr, now)
		return Work{Batch: gr.sending}, true
	}
	g.forget(gr)
	if gr.revision == 0 {
		return Work{}, true
	}
	return Work{Forget: &Forgotten{gr.id, gr.revision}}, true
}

// drop gives up what was below the threshold for too long.
func (g *Grouper) drop(gr *group, now time.Time) []string {
	before := gr.listedBytes
	acks := gr.dropBefore(now.Add(-g.rule.Within - grace).Add(1))
	g.held -= len(acks)
	g.bytes -= before - gr.listedBytes
	if len(gr.pending) == 0 {
		g.forget(gr)
	}
	return acks
}

func (g *Grouper) forget(gr *group) {
	delete(g.groups, gr.key)
	gr.state.Number, gr.seen = 0, time.Time{}
	gr.forgotten = true
}

// notify makes a batch of all that waits in gr.
func (g *Grouper) notify(gr *group, now time.Time) *Batch {
	s := &gr.state
	n := g.base(gr, now)
	switch {
	case s.Number == 0:
		n.Reason = notification.New
	case now.Sub(s.Announced) >= g.rule.Repeat:
		n.Reason = notification.Repeat
	default:
		n.Reason = notification.Update
	}
	slices.SortFunc(gr.pending, func(a, b held) int { return cmp.Compare(a.seq, b.seq) })
	slices.SortFunc(gr.listed, func(a, b notification.Item) int { return cmp.Compare(a.Sequence, b.Sequence) })
	seqs, acks := make(Sequences, len(gr.pending)), make([]string, len(gr.pending))
	for k, h := range gr.pending {
		seqs[k], acks[k] = h.seq, h.ack
		n.Kinds[h.kind]++
		n.Causes[h.cause]++
		n.Outcomes[h.outcome]++
		at := time.Unix(0, h.happened).UTC()
		if n.Group.First.IsZero() || at.Before(n.Group.First) {
			n.Group.First = at
		}
		n.Group.Last = later(n.Group.Last, at)
	}
	n.Count = len(seqs)
	n.Group.Total += n.Count
	if n.Group.Began.IsZero() {
		n.Group.Began = now.UTC()
	}
	n.Incidents = gr.listed
	n.More = n.Count - len(gr.listed)
	n.Fetch.First, n.Fetch.Last = seqs[0], seqs[len(seqs)-1]
	// The sequences are part of the id: what is sent with one id is always the same.
	id := sha256.New()
	id.Write([]byte(gr.id + " " + g.stream.UTC().Format(time.RFC3339Nano) + " "))
	b, _ := seqs.MarshalJSON() // of bytes: cannot fail
	id.Write(b)
	n.ID = hex.EncodeToString(id.Sum(nil)[:16])
	n.Verdict = verdict.Of(facts(n))
	if len(n.Incidents) > 0 {
		n.Group.Incident = n.Incidents[0].ID
	}
	if g.rule.Render != nil {
		g.rule.Render(n)
	}
	g.bytes -= gr.listedBytes
	gr.pending, gr.where, gr.listed, gr.listedBytes = nil, nil, nil, 0
	n.Memo = s.Memo
	return newBatch(gr, *n, seqs, acks)
}

// refresh makes a batch without incidents.
func (g *Grouper) refresh(gr *group, now time.Time) *Batch {
	n := g.base(gr, now)
	n.Reason, n.Memo, n.Incidents = notification.Refresh, gr.state.Memo, []notification.Item{}
	n.ID = gr.id + "-refresh"
	gr.refreshed = now
	if g.rule.Render != nil {
		g.rule.Render(n)
	}
	return &Batch{Notification: *n, Key: gr.id, Revision: gr.revision, group: gr, After: gr.state}
}

func (g *Grouper) base(gr *group, now time.Time) *notification.Notification {
	s := &gr.state
	n := &notification.Notification{
		Receiver: g.rule.Receiver, At: now.UTC(),
		Group:   notification.Group{ID: gr.id, Labels: map[string]string{}, Total: s.Total, Began: s.Began, First: s.First, Last: s.Last, Incident: s.Incident},
		Verdict: s.Verdict,
		Kinds:   map[incident.Kind]int{}, Causes: map[incident.Cause]int{}, Outcomes: map[incident.Outcome]int{},
		Fetch: notification.Fetch{Stream: Stream, Subject: incident.AllSubjects},
	}
	for k, l := range g.rule.By {
		n.Group.Names = append(n.Group.Names, string(l))
		n.Group.Labels[string(l)] = s.Values[k]
	}
	return n
}

// Done takes back a batch whose state After is stored, and at which revision.
// It returns what is to be acknowledged.
func (g *Grouper) Done(b *Batch, revision uint64) (acks []string) {
	gr := b.group
	if b.Notification.Reason != notification.Refresh && len(gr.state.Done) > 0 {
		gr.recent = append(gr.recent[max(0, len(gr.recent)+1-maxRecent):], gr.state.Done)
	}
	gr.state, gr.revision, gr.sending = b.After, revision, nil
	g.held -= len(b.sequences)
	for _, a := range b.acks {
		if a != "" {
			acks = append(acks, a)
		}
	}
	g.schedule(gr)
	g.press()
	return acks
}
