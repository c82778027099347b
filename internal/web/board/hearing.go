// SPDX-License-Identifier: Apache-2.0

package board

import (
	"strconv"
	"strings"

	"github.com/renat-project/renat/correlator/incident"
)

const (
	// waiting is how many events a listener may be behind before it is dropped.
	waiting = 512
	// replayed is how many of the last incidents a listener can catch up with.
	replayed = 256
)

// Event is one change. One of its fields but ID is set.
type Event struct {
	// ID is where to go on after it, see Subscribe; "" for what is not repeated.
	ID string
	// Incident is new; without evidence and labels.
	Incident *incident.Incident
	// Node is a node's new status.
	Node *Node
	// Problem is what Board.Problem returns now.
	Problem *Problem
	// Restart: there was more than can be told. Ask for everything again.
	Restart bool
}

// Subscription delivers events until it is closed or dropped.
type Subscription struct {
	// Events is closed when the listener was too slow and is dropped.
	Events <-chan Event
	events chan Event
	board  *Board
}

// Subscribe begins with the board's Problem, whose ID stands for all that was
// before. If after is the ID of an event of
// this board, the incidents since then follow, or a Restart if they are too
// many or the board is another. Then come changes as they happen.
func (b *Board) Subscribe(after string) *Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &Subscription{events: make(chan Event, waiting), board: b}
	s.Events = s.events
	problem := b.problem
	s.events <- Event{ID: b.hearing.id(b.hearing.told), Problem: &problem}
	for _, e := range b.hearing.since(after) {
		s.events <- e
	}
	b.hearing.listeners[s] = struct{}{}
	return s
}

// Close ends the subscription; Events is closed then.
func (s *Subscription) Close() {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	s.board.hearing.drop(s)
}

// hearing is who listens, and what they may have missed.
type hearing struct {
	epoch     string // of this board: ids of another mean nothing here
	listeners map[*Subscription]struct{}
	// last are the newest incidents as they came; told is how many there were
	// in all.
	last []*incident.Incident
	told uint64
	// brief makes an incident what listeners get.
	brief func(*incident.Incident) *incident.Incident
}

// incident tells of a new one.
func (h *hearing) incident(i *incident.Incident) {
	h.told++
	if h.last = append(h.last, i); len(h.last) > replayed {
		h.last[0] = nil
		h.last = h.last[1:]
	}
	if len(h.listeners) > 0 {
		h.tell(h.event(i, h.told))
	}
}

func (h *hearing) event(i *incident.Incident, number uint64) Event {
	return Event{ID: h.id(number), Incident: h.brief(i)}
}

func (h *hearing) id(number uint64) string { return h.epoch + "-" + strconv.FormatUint(number, 10) }

// tell drops who is too slow.
func (h *hearing) tell(e Event) {
	for s := range h.listeners {
		select {
		case s.events <- e:
		default:
			h.drop(s)
		}
	}
}

func (h *hearing) drop(s *Subscription) {
	if _, ok := h.listeners[s]; ok {
		delete(h.listeners, s)
		close(s.events)
	}
}

// restart makes all earlier ids too old.
func (h *hearing) restart() {
	h.told++
	h.last = nil
	h.tell(Event{Restart: true})
}

// since returns what came after the event with the id.
func (h *hearing) since(id string) []Event {
	if id == "" {
		return nil
	}
	epoch, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || epoch != h.epoch || n > h.told || h.told-n > uint64(len(h.last)) {
		return []Event{{Restart: true}}
	}
	var missed []Event
	for k, i := range h.last[uint64(len(h.last))-(h.told-n):] {
		missed = append(missed, h.event(i, n+uint64(k)+1))
	}
	return missed
}
