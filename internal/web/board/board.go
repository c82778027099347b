// SPDX-License-Identifier: Apache-2.0

package board

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
)

// DefaultIncidents is how many incidents a board holds if it is not told.
const DefaultIncidents = 1000

// Config is what a Board needs.
type Config struct {
	// Incidents are held at most, the newest by their own time; 0: DefaultIncidents.
	Incidents int
	// Whole, if not nil, returns an incident with its evidence by its sequence
	// in the stream; the board then holds incidents without. ErrGone says that
	// it is not stored any more.
	Whole func(ctx context.Context, sequence uint64) (*incident.Incident, error)
}

// The errors of Incident.
var (
	// ErrUnknown says that the board does not hold such an incident.
	ErrUnknown = errors.New("not among the newest incidents")
	// ErrGone says that an incident is not stored any more.
	ErrGone = errors.New("not stored any more")
)

// MinPrefix is how many characters of an id name an incident at least.
const MinPrefix = 4

// AlikeError says that several incidents' ids begin as was asked.
type AlikeError struct{ IDs []string }

// Error names the first of them.
func (e *AlikeError) Error() string {
	return fmt.Sprintf("%d ids begin so, %s among them: write more of it", len(e.IDs), e.IDs[0])
}

// Board is the newest incidents and the state of the nodes.
type Board struct {
	config Config

	// mu guards all below.
	mu      sync.RWMutex
	window  window
	brief   *brevity // nil: incidents are held whole
	nodes   map[nodeKey]*node
	problem Problem
	loaded  bool
	hearing hearing
}

// New returns an empty board.
func New(c Config) *Board {
	if c.Incidents == 0 {
		c.Incidents = DefaultIncidents
	}
	b := &Board{config: c, nodes: map[nodeKey]*node{}, window: newWindow(c.Incidents)}
	b.hearing = hearing{epoch: strconv.FormatInt(time.Now().UnixNano(), 36), listeners: map[*Subscription]struct{}{}, brief: b.shown}
	if c.Whole != nil {
		b.brief = &brevity{}
	}
	return b
}

// Capacity is how many incidents the board holds at most.
func (b *Board) Capacity() int { return b.config.Incidents }

// Add takes an incident and tells who listens. The sequence is its place in the
// stream, 0 if it has none. One that the board has, that is older than all of a
// full board, or whose id is longer than any of renat's, is ignored.
func (b *Board) Add(i *incident.Incident, sequence uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.add(i, sequence); ok {
		b.hearing.incident(e.incident)
	}
}

// Load is Add without telling anybody: for what was stored before. When all is
// loaded, call Loaded.
func (b *Board) Load(i *incident.Incident, sequence uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(i, sequence)
}

// Loaded tells who listens that they have to ask for everything again.
func (b *Board) Loaded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loaded = true
	b.hearing.restart()
}

func (b *Board) add(i *incident.Incident, sequence uint64) (*entry, bool) {
	if len(i.ID) > maxText {
		return nil, false
	}
	e := &entry{incident: i, sequence: sequence, owner: i.Source.Owner(), server: i.Destination.HostPort()}
	if b.brief != nil {
		e.incident, e.owner, e.server = b.brief.of(i), b.brief.text(e.owner), b.brief.text(e.server)
	}
	return b.window.add(e)
}

// between returns the entries of a span of time, the oldest first, in a slice
// that the caller can look at without the lock.
func (b *Board) between(since, until time.Time) []*entry {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Clone(b.window.between(since, until))
}

// lookEvery is how many incidents are compared between two looks at whether
// anybody still waits for the answer.
const lookEvery = 1024

// match returns what the filter chooses, the oldest first. It fails when ctx ends.
func (b *Board) match(ctx context.Context, f *filter.Filter) ([]*entry, error) {
	all := b.between(f.Since, f.Until)
	chosen := all[:0] // between made it for us
	for n, e := range all {
		if n%lookEvery == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if f.Match(e.incident) {
			chosen = append(chosen, e)
		}
	}
	return chosen, nil
}

// Problem is why the board may not show what is new.
type Problem struct {
	// Text says in words why what is new may be missing; "": nothing is.
	Text string `json:"problem,omitempty"`
	// Since is until when all is known; zero: it never was.
	Since time.Time `json:"problem_since,omitzero"`
}

// SetProblem says in words why the board may not show what is new; "": it does.
func (b *Board) SetProblem(text string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.problem.Text == text {
		return
	}
	p := Problem{Text: text}
	switch {
	case text == "":
	case b.problem.Text != "":
		p.Since = b.problem.Since // another, but what it keeps back began then
	case b.loaded:
		p.Since = now.UTC()
	}
	b.problem = p
	b.hearing.tell(Event{Problem: &p})
}

// Problem returns what SetProblem said.
func (b *Board) Problem() Problem {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.problem
}

// Incident returns an incident with all its evidence, by its id or the first few
// characters of it, MinPrefix at least. The error is ErrUnknown, an *AlikeError,
// ErrGone or another of Config.Whole; beside that comes what the board holds of
// the incident, which has no evidence.
func (b *Board) Incident(ctx context.Context, id string) (*incident.Incident, error) {
	b.mu.RLock()
	e, err := b.window.find(id)
	b.mu.RUnlock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("incident %q: %w", id, err)
	case b.config.Whole == nil:
		return e.incident, nil
	}
	i, err := b.config.Whole(ctx, e.sequence)
	if err == nil && i.ID != e.incident.ID {
		err = ErrGone // another stream of the same name
	}
	switch {
	case errors.Is(err, ErrGone):
		return nil, fmt.Errorf("incident %q: %w", id, err)
	case err != nil:
		return e.incident, err
	}
	return i, nil
}
