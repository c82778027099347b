// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
)

// clockSpread is how far a node's clock may be ahead of the server's for
// ReadOptions.Since to find all its incidents.
const clockSpread = 24 * time.Hour

// ReadOptions says which incidents Read yields. The zero value means all that
// are stored.
type ReadOptions struct {
	// Follow goes on with incidents that are stored later, until the context
	// ends, and waits for the stream if there is none yet: all that is in it then
	// was stored later.
	Follow bool
	// NewOnly leaves out what is stored already; useful with Follow.
	NewOnly bool
	// Last yields only the last so many of the stored incidents that pass the
	// other options, in the order of storage; 0: no limit.
	Last int
	// Tail begins so many messages before the end of what is stored; 0: at the
	// oldest. What does not pass the other options counts too.
	Tail uint64
	// OnStored, if not nil, is called when all that was stored when Read began
	// has been yielded.
	OnStored func()
	// Since yields only incidents that happened at this time or later. It is
	// the incident's own time: a recording replayed today has old incidents.
	Since time.Time
	// Kinds the server selects by; empty: all.
	Kinds []incident.Kind
	// Match, if not nil, must return true for an incident to be yielded. It is
	// called by the goroutine of Read.
	Match func(*incident.Incident) bool
	// OnGarbled, if not nil, is called for a message that is no incident this
	// version can read (errors.Is incident.ErrNotIncident: of a later version,
	// or not renat's).
	OnGarbled func(sequence uint64, subject string, err error)
	// Log says when Read waits for the stream.
	Log zerolog.Logger
}

// Stored is an incident as the stream holds it.
type Stored struct {
	Incident *incident.Incident
	// Sequence of the message in the stream, from 1.
	Sequence uint64
	// At is when the server stored it, by its clock.
	At time.Time
}

// Read yields stored incidents in the order of storage. Without Follow it ends
// with what is stored when it begins, with nil; ErrNoStream if there is no
// stream. Otherwise it returns yield's error, or ctx's, or what is wrong with
// NATS: an endless Read survives restarts of the server. It may be called
// several times on one connection, also at once.
func Read(ctx context.Context, nc *nats.Conn, o ReadOptions, yield func(Stored) error) error {
	r := &reader{options: o, scanner: scanner{js: open(nc)}}
	if len(o.Kinds) == 0 {
		r.subjects = []string{incident.AllSubjects}
	}
	for _, k := range o.Kinds {
		r.subjects = append(r.subjects, incident.SubjectPrefix+"."+incident.EncodeToken(string(k))+".>")
	}
	info, waited, err := r.stream(ctx)
	if err != nil {
		return err
	}
	first, end := info.State.FirstSeq, info.State.LastSeq
	if waited {
		end = 0
	}
	if !o.NewOnly && info.State.Msgs > 0 && end > 0 {
		if err := r.stored(ctx, first, end, yield); err != nil {
			return err
		}
	}
	if o.OnStored != nil {
		o.OnStored()
	}
	if !o.Follow {
		return nil
	}
	r.seen = 0
	return r.scan(ctx, start{seq: end + 1}, forever, r.only(yield))
}

type reader struct {
	scanner
	options ReadOptions
	// seen is the first sequence that was read before, when the end of the
	// stream is read again; 0: none was.
	seen uint64
}

// stream returns the stream's state; with Follow it waits for the stream, and
// says so.
func (r *reader) stream(ctx context.Context) (_ *natsjs.StreamInfo, waited bool, _ error) {
	for ; ; waited = true {
		info, err := streamInfo(ctx, r.js)
		switch {
		case err == nil:
			r.created = info.Created
			return info, waited, nil
		case ctx.Err() != nil:
			return nil, waited, ctx.Err()
		case !r.options.Follow || !errors.Is(err, ErrNoStream):
			return nil, waited, fmt.Errorf("reading incidents: %w", explain(err))
		case !waited:
			r.options.Log.Info().Str("stream", Stream).Msg("nothing has been published yet, waiting")
		}
		if err := sleep(ctx, time.Second); err != nil {
			return nil, waited, err
		}
	}
}

// stored yields what is stored from first to end.
func (r *reader) stored(ctx context.Context, first, end uint64, yield func(Stored) error) error {
	from := start{}
	if !r.options.Since.IsZero() {
		// An incident is stored after it happened.
		from.time = r.options.Since.Add(-clockSpread)
	}
	if tail := r.options.Tail; tail > 0 && end-first >= tail {
		from, first = start{seq: end - tail + 1}, end-tail+1
	}
	if r.options.Last == 0 {
		return r.scan(ctx, from, end, r.only(yield))
	}
	found, err := r.last(ctx, from, first, end)
	if err != nil {
		return err
	}
	for _, s := range found {
		if err := yield(s); err != nil {
			return err
		}
	}
	return nil
}

// last returns the last incidents that match. Without a time to begin at, it
// looks at the end of the stream and, as long as too few match, at a four
// times longer end: a stream can be large, and most that is asked for is recent.
func (r *reader) last(ctx context.Context, from start, first, end uint64) ([]Stored, error) {
	for size := max(4*uint64(r.options.Last), readAhead); ; size *= 4 {
		if from.time.IsZero() {
			from.seq = first
			if end-first >= size {
				from.seq = end - size + 1
			}
		}
		var found []Stored
		err := r.scan(ctx, from, end, r.only(func(s Stored) error {
			if len(found) == r.options.Last {
				found = found[1:]
			}
			found = append(found, s)
			return nil
		}))
		if err != nil || len(found) == r.options.Last || from.seq <= first {
			return found, err
		}
		r.seen = from.seq
	}
}

// only decodes messages and passes on those that were asked for.
func (r *reader) only(yield func(Stored) error) func(natsjs.Msg, *natsjs.MsgMetadata) error {
	o := r.options
	return func(m natsjs.Msg, meta *natsjs.MsgMetadata) error {
		i, err := incident.UnmarshalCloudEvent(m.Data())
		if err != nil {
			if o.OnGarbled != nil && (r.seen == 0 || meta.Sequence.Stream < r.seen) {
				o.OnGarbled(meta.Sequence.Stream, m.Subject(), err)
			}
			return nil
		}
		if i.Time.Before(o.Since) || o.Match != nil && !o.Match(i) {
			return nil
		}
		return yield(Stored{Incident: i, Sequence: meta.Sequence.Stream, At: meta.Timestamp})
	}
}
