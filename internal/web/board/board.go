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

// Board is the newest incidents and the state of the nodes.
type Board struct {
	config Config

	// mu guards all below.
	mu      sync.RWMutex
	window  window
	brief   *brevity // nil: incidents are held whole
	nodes   map[nodeKey]*node
	problem string
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

// SetProblem says in words why the board may not show what is new; "": it does.
func (b *Board) SetProblem(problem string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.problem != problem {
		b.problem = problem
		b.hearing.tell(Event{Problem: &problem})
	}
}

// Problem returns what SetProblem said.
func (b *Board) Problem() string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.problem
}

// Incident returns an incident with all its evidence. The error is ErrUnknown,
// ErrGone or Config.Whole's.
func (b *Board) Incident(ctx context.Context, id string) (*incident.Incident, error) {
	b.mu.RLock()
	e := b.window.byID[id]
	b.mu.RUnlock()
	switch {
	case e == nil:
		return nil, fmt.Errorf("incident %q: %w", id, ErrUnknown)
	case b.config.Whole == nil:
		return e.incident, nil
	}
	i, err := b.config.Whole(ctx, e.sequence)
	if err == nil && i.ID != id {
		err = ErrGone // another stream of the same name
	}
	if err != nil {
		return nil, fmt.Errorf("incident %q: %w", id, err)
	}
	return i, nil
}
