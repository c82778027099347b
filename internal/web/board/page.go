// SPDX-License-Identifier: Apache-2.0

package board

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
)

// Page says which of the incidents that a filter chooses.
type Page struct {
	// Cursor is where to begin, from an earlier answer; "": at the newest.
	Cursor string
	// Skip so many from there.
	Skip int
	// Limit is how many to return at most.
	Limit int
}

// Listing is a page of incidents.
type Listing struct {
	// Incidents without evidence and labels, the newest first.
	Incidents []*incident.Incident
	// Total is how many the filter chooses, from the cursor on.
	Total int
	// Cursor is where this listing began, before skipping: it stays when
	// newer incidents come. "": there was none.
	Cursor string
	// Next is where the next page begins; "": there is none.
	Next string
}

// ErrCursor says that a cursor is none of this board's answers.
var ErrCursor = errors.New("not a cursor from an earlier answer")

// Incidents lists what the filter chooses. It fails when ctx ends.
func (b *Board) Incidents(ctx context.Context, f *filter.Filter, p Page) (Listing, error) {
	var l Listing
	var from position
	if p.Cursor != "" {
		var err error
		if from, err = parseCursor(p.Cursor); err != nil {
			return l, err
		}
	}
	all, err := b.match(ctx, f)
	if err != nil {
		return l, err
	}
	for n := len(all) - 1; n >= 0; n-- {
		e := all[n]
		if p.Cursor != "" && e.position().compare(from) > 0 {
			continue
		}
		switch {
		case l.Total < p.Skip:
		case len(l.Incidents) < p.Limit:
			l.Incidents = append(l.Incidents, b.shown(e.incident))
		case l.Next == "":
			l.Next = e.position().cursor()
		}
		if l.Total == 0 {
			l.Cursor = e.position().cursor()
		}
		l.Total++
	}
	return l, nil
}

// shown is the incident as lists and events have it.
func (b *Board) shown(i *incident.Incident) *incident.Incident {
	if b.brief != nil {
		return i // it is so already
	}
	return Brief(i)
}

func (p position) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.time.UTC().Format(time.RFC3339Nano) + " " + p.id))
}

func parseCursor(s string) (p position, err error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return p, ErrCursor
	}
	at, id, ok := strings.Cut(string(text), " ")
	if p.time, err = time.Parse(time.RFC3339Nano, at); err != nil || !ok {
		return p, ErrCursor
	}
	p.id = id
	return p, nil
}
