// SPDX-License-Identifier: Apache-2.0

package recall

import (
	"slices"
	"sync"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble/enrich"
)

const (
	// maxIncidents are kept; the oldest goes first. Each takes some 400 bytes.
	maxIncidents = 1 << 16
	// reach is how long after an incident its connection's flows are expected,
	// and how long before one of which the opening was not seen.
	reach = 10 * time.Minute
	// lag is by how much Hubble's time of a packet may trail the kernel's:
	// 125 ms was measured; early how much it may be ahead.
	lag   = 150 * time.Millisecond
	early = 20 * time.Millisecond
)

// Mapping tells where an entry translates, or lately translated, a tuple to at
// a time (Unix nanoseconds); false if there is none, as far as is known.
type Mapping func(t correlator.Tuple, d correlator.Dir, at int64) (correlator.Addr, bool)

// Book is what is remembered.
type Book struct {
	mapping Mapping

	mu    sync.Mutex // guards what follows
	known map[string]struct{}
	of    map[correlator.Tuple][]*entry
	order []*entry // a ring, the oldest at next
	next  int
}

// entry is one incident.
type entry struct {
	short         enrich.Incident
	pod           correlator.Tuple
	host          correlator.Tuple // of the host's RST that answers an orphaned reply
	before, after correlator.Addr
	at            int64 // Unix nanoseconds, like those below
	from, until   int64 // the connection's life
}

// New returns an empty book. mapping may be nil: then it is known of broken
// connections only.
func New(mapping Mapping) *Book {
	if mapping == nil {
		mapping = func(correlator.Tuple, correlator.Dir, int64) (correlator.Addr, bool) { return correlator.Addr{}, false }
	}
	return &Book{mapping: mapping, known: map[string]struct{}{}, of: map[correlator.Tuple][]*entry{}}
}

// Add remembers an incident. One with an unreadable address or protocol is
// left out: no flow can be its.
func (b *Book) Add(i *incident.Incident) {
	e := newEntry(i)
	if e == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, again := b.known[i.ID]; again {
		return
	}
	if len(b.order) < maxIncidents {
		b.order = append(b.order, e)
	} else {
		b.forget(b.order[b.next])
		b.order[b.next] = e
		b.next = (b.next + 1) % maxIncidents
	}
	b.known[i.ID] = struct{}{}
	for _, t := range e.tuples() {
		b.of[t] = append(b.of[t], e)
	}
}

func newEntry(i *incident.Incident) *entry {
	protocol, err := correlator.ParseProtocol(i.Protocol)
	if err != nil || !i.Source.IP.IsValid() || !i.Destination.IP.IsValid() {
		return nil
	}
	e := &entry{
		short: enrich.Incident{ID: i.ID, Kind: string(i.Kind), Cause: string(i.Cause), Outcome: string(i.Outcome)},
		pod: correlator.Tuple{
			Src: correlator.AddrOf(i.Source.AddrPort()), Dst: correlator.AddrOf(i.Destination.AddrPort()), Protocol: protocol,
		},
		at: i.Time.UnixNano(),
	}
	e.before, _ = correlator.ParseAddr(i.NAT.Before) // zero if unknown
	e.after, _ = correlator.ParseAddr(i.NAT.After)
	if i.Kind == incident.OrphanedReply && !e.before.IsZero() {
		e.host = correlator.Tuple{Src: e.before, Dst: e.pod.Dst, Protocol: protocol}
	}
	e.from, e.until = e.at-int64(reach), e.at+int64(reach)
	if len(i.Evidence) > 0 && i.Evidence[0].Step == incident.Opened {
		e.from = i.Evidence[0].Time.UnixNano() - int64(early)
	}
	return e
}

// tuples are those of the flows that are the incident's.
func (e *entry) tuples() []correlator.Tuple {
	if e.host == (correlator.Tuple{}) {
		return []correlator.Tuple{e.pod}
	}
	return []correlator.Tuple{e.pod, e.host}
}

func (b *Book) forget(e *entry) {
	delete(b.known, e.short.ID)
	for _, t := range e.tuples() {
		b.of[t] = slices.DeleteFunc(b.of[t], func(other *entry) bool { return other == e })
		if len(b.of[t]) == 0 {
			delete(b.of, t)
		}
	}
}

// Find implements enrich.Source.
func (b *Book) Find(f *enrich.Flow) (enrich.Addition, bool) {
	if f.Network {
		if a, ok := b.behind(f); ok {
			return a, true
		}
	}
	for _, t := range f.Tuples() {
		e := b.incident(t, f)
		a := enrich.Addition{PreNAT: t.Src}
		if e != nil {
			a = e.addition(f.Time)
		}
		if e == nil || t == e.pod && f.Time >= e.at {
			// A mapping to itself is the host's own.
			if to, ok := b.mapping(t, correlator.Out, f.Time); ok && to != t.Src {
				a.PostNAT = to
			}
		}
		if e != nil || !a.PostNAT.IsZero() {
			if a.Was == a.PostNAT {
				a.Was = correlator.Addr{}
			}
			return a, true
		}
	}
	return enrich.Addition{}, false
}

// behind finds whose a packet is that has the address after translation.
func (b *Book) behind(f *enrich.Flow) (enrich.Addition, bool) {
	for _, t := range f.Tuples() {
		to, ok := b.mapping(t.Reverse(), correlator.In, f.Time)
		if !ok || to == t.Src {
			continue
		}
		a := enrich.Addition{PreNAT: to, PostNAT: t.Src}
		if e := b.incident(correlator.Tuple{Src: to, Dst: t.Dst, Protocol: t.Protocol}, f); e != nil {
			a.Incident = &e.short
			if a.PostNAT == e.after {
				a.Was = e.before
			}
		}
		return a, true
	}
	return enrich.Addition{}, false
}

// addition is what the incident alone tells at a time.
func (e *entry) addition(at int64) enrich.Addition {
	a := enrich.Addition{PreNAT: e.pod.Src, PostNAT: e.before, Incident: &e.short}
	if !e.after.IsZero() && at >= e.at {
		a.PostNAT, a.Was = e.after, e.before
	}
	return a
}

// incident returns the latest that the flow belongs to, nil if there is none.
func (b *Book) incident(t correlator.Tuple, f *enrich.Flow) *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var latest *entry
	for _, e := range b.of[t] {
		if f.Opens && f.Tuple == t && t == e.pod && f.Time > e.at+int64(lag) {
			e.until = min(e.until, f.Time-1) // the port's next connection
		}
		from, until := e.from, e.until
		if t != e.pod {
			from, until = e.at-int64(early), e.at+int64(lag)
		}
		if f.Time >= from && f.Time <= until && (latest == nil || e.at > latest.at) {
			latest = e
		}
	}
	return latest
}
