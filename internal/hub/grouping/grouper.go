// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"container/heap"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/notification"
)

// Message is an incident with where it came from.
type Message struct {
	Sequence uint64
	// Ack acknowledges it.
	Ack      string
	Incident *incident.Incident
}

// Fate is what became of a message that was added.
type Fate int

// The fates.
const (
	// Held: it waits for its notification.
	Held Fate = iota
	// Unmatched: it is not for this receiver.
	Unmatched
	// Known: a notification has told of it.
	Known
)

// Grouper groups one receiver's incidents.
type Grouper struct {
	rule   Rule
	stream time.Time
	groups map[string]*group
	queue  queue
	// held counts the incidents that wait, or are being sent; bytes are those
	// of the listed ones.
	held, bytes int
	pressed     bool
}

// New returns an empty Grouper for the sequences of the stream that was made
// at the given time.
func New(r Rule, stream time.Time) *Grouper {
	return &Grouper{rule: r, stream: stream, groups: map[string]*group{}}
}

// Restore adds a group as it was stored, and returns the notification that
// was on its way, if one was. Call it before the first Add. A state with other
// labels than the rule groups by is not the rule's any more: ok is false.
func (g *Grouper) Restore(s State, revision uint64) (b *Batch, ok bool) {
	if !slices.Equal(s.By, g.rule.By) || len(s.Values) != len(s.By) {
		return nil, false
	}
	if !s.Stream.Equal(g.stream) {
		s.Done = nil
		if s.Sending != nil {
			s.Sending.Sequences = nil
		}
		s.Stream = g.stream
	}
	gr := g.add(s.Values)
	gr.state, gr.open, gr.revision = s, true, revision
	if s.Sending != nil {
		n := s.Sending.Notification
		n.Memo = s.Memo
		gr.sending = newBatch(gr, n, s.Sending.Sequences, make([]string, len(s.Sending.Sequences)))
		g.held += len(s.Sending.Sequences)
	}
	g.schedule(gr)
	return gr.sending, true
}

// Add takes a message. The error says that the incident cannot be told of,
// whatever is tried.
func (g *Grouper) Add(now time.Time, m Message) (Fate, error) {
	if !g.rule.matches(m.Incident) {
		return Unmatched, nil
	}
	gr := g.find(m.Incident)
	switch {
	case gr.told(m.Sequence):
		return Known, nil
	case gr.sending != nil && gr.sending.attach(m):
		return Held, nil
	}
	var item notification.Item
	size := 0
	if len(gr.listed) < g.rule.Listed && gr.listedBytes < ListedBytes-maxIncident && g.bytes < allListedBytes {
		trimmed, n, err := trim(m.Incident)
		if err != nil {
			g.schedule(gr)
			return Held, fmt.Errorf("encoding incident %q: %w", notification.Redact(m.Incident.ID), err)
		}
		item, size = notification.Item{ID: trimmed.ID, Sequence: m.Sequence, Incident: trimmed}, n
	}
	if !gr.hold(now, m) {
		return Held, nil
	}
	g.held++
	if item.Incident != nil {
		gr.list(item, size)
		g.bytes += size
	}
	gr.tryOpen(&g.rule)
	g.schedule(gr)
	g.press()
	return Held, nil
}

// find returns the incident's group.
func (g *Grouper) find(i *incident.Incident) *group {
	values := g.rule.values(i)
	if gr := g.groups[join(values)]; gr != nil {
		return gr
	}
	if len(g.groups) >= g.rule.MaxGroups {
		for n := range values {
			values[n] = Other
		}
		if gr := g.groups[join(values)]; gr != nil {
			return gr
		}
	}
	return g.add(values)
}

func (g *Grouper) add(values []string) *group {
	key := join(values)
	id := sha256.Sum256([]byte(g.rule.Receiver + "\x00" + key))
	gr := &group{id: hex.EncodeToString(id[:8]), key: key, state: State{By: g.rule.By, Values: values, Stream: g.stream}, index: -1}
	g.groups[key] = gr
	return gr
}

// join makes one string of values, of which no other values make the same.
func join(values []string) string {
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%d:%s", len(v), v)
	}
	return b.String()
}

// schedule puts the group where it belongs in the queue.
func (g *Grouper) schedule(gr *group) {
	gr.due = gr.next(&g.rule, g.pressed)
	switch {
	case gr.due.IsZero() && gr.index >= 0:
		heap.Remove(&g.queue, gr.index)
	case gr.due.IsZero():
	case gr.index >= 0:
		heap.Fix(&g.queue, gr.index)
	default:
		heap.Push(&g.queue, gr)
	}
}

// press hurries the groups when too many incidents wait.
func (g *Grouper) press() {
	pressed := g.held >= g.rule.MaxPending*4/5
	if pressed == g.pressed {
		return
	}
	g.pressed = pressed
	for _, gr := range g.groups {
		g.schedule(gr)
	}
}

// Next is when to call Take again, if Add and Done are not called before.
func (g *Grouper) Next() (at time.Time, ok bool) {
	if len(g.queue) == 0 {
		return time.Time{}, false
	}
	return g.queue[0].due, true
}

// queue is a heap of groups, the one that is due first on top.
type queue []*group

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].id < q[j].id
}
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *queue) Push(x any) {
	gr := x.(*group)
	gr.index = len(*q)
	*q = append(*q, gr)
}
func (q *queue) Pop() any {
	old := *q
	gr := old[len(old)-1]
	old[len(old)-1] = nil
	gr.index = -1
	*q = old[:len(old)-1]
	return gr
}
