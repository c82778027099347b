// SPDX-License-Identifier: Apache-2.0

package board

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// entry is an incident on the board. It does not change.
type entry struct {
	incident *incident.Incident
	sequence uint64
	// owner and server are the incident's Source.Owner and
	// Destination.HostPort, by which it is counted.
	owner, server string
}

// window is the newest incidents, ordered by time and then id.
type window struct {
	size    int
	entries []*entry // the oldest first
	byID    map[string]*entry
}

func newWindow(size int) window {
	return window{size: size, byID: map[string]*entry{}}
}

// position is a place in the order; it need not be taken.
type position struct {
	time time.Time
	id   string
}

func (e *entry) position() position { return position{e.incident.Time, e.incident.ID} }

func (p position) compare(o position) int {
	return cmp.Or(p.time.Compare(o.time), cmp.Compare(p.id, o.id))
}

// add reports false if the window has the incident, or is full of newer ones.
// Incidents come nearly in order, so few have to move.
func (w *window) add(e *entry) (*entry, bool) {
	if w.byID[e.incident.ID] != nil {
		return nil, false
	}
	at := w.after(e.position())
	if len(w.entries) >= w.size {
		if at == 0 {
			return nil, false
		}
		delete(w.byID, w.entries[0].incident.ID)
		w.entries[0] = nil
		w.entries = w.entries[1:] // append moves to a new array when this one ends
		at--
	}
	w.entries = slices.Insert(w.entries, at, e)
	w.byID[e.incident.ID] = e
	return e, true
}

// find returns the entry with an id, or the only one whose id begins so.
func (w *window) find(id string) (*entry, error) {
	if e := w.byID[id]; e != nil {
		return e, nil
	}
	id = strings.ToLower(id) // as renat's are
	if e := w.byID[id]; e != nil {
		return e, nil
	}
	if len(id) < MinPrefix {
		return nil, ErrUnknown
	}
	var alike AlikeError
	for whole := range w.byID {
		if strings.HasPrefix(whole, id) {
			alike.IDs = append(alike.IDs, whole)
		}
	}
	switch len(alike.IDs) {
	case 0:
		return nil, ErrUnknown
	case 1:
		return w.byID[alike.IDs[0]], nil
	}
	slices.Sort(alike.IDs)
	return nil, &alike
}

// after returns how many entries are at or before p.
func (w *window) after(p position) int {
	if n := len(w.entries); n == 0 || w.entries[n-1].position().compare(p) <= 0 {
		return n
	}
	return sort.Search(len(w.entries), func(n int) bool { return w.entries[n].position().compare(p) > 0 })
}

// between returns the entries from since to until, both inclusive; zero times
// do not bound.
func (w *window) between(since, until time.Time) []*entry {
	all := w.entries
	if !until.IsZero() {
		all = all[:sort.Search(len(all), func(n int) bool { return all[n].incident.Time.After(until) })]
	}
	if !since.IsZero() {
		all = all[sort.Search(len(all), func(n int) bool { return !all[n].incident.Time.Before(since) }):]
	}
	return all
}
