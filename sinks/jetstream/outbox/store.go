// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

const (
	// stream is the outbox; its subjects are not those of the hub's stream,
	// which may be on the same server.
	stream  = "RENAT_OUTBOX"
	subject = "renat.outbox.v1"

	// storeWait is how long the server may take to sync an incident.
	storeWait = 5 * time.Second
	// openWait is how long its own connection may take.
	openWait = 10 * time.Second
	// duplicates is how long the outbox knows ids, for what is put twice when
	// the server is started again.
	duplicates = 2 * time.Minute
	// beside is what the server may store beside the outbox, where it is NATS
	// for others too: the streams of incidents and dead letters, and buckets.
	beside = embedded.DefaultMaxStore
)

// errUnstorable says that the incident itself cannot be stored.
var errUnstorable = errors.New("incident cannot be stored")

// store is one life of the embedded server.
type store struct {
	server  *embedded.Server
	nc      *nats.Conn
	js      natsjs.JetStream
	stream  natsjs.Stream
	created time.Time // of the stream, which tells it from another one
	last    uint64    // sequence of the newest incident at the start
}

// openStore opens the store. It takes lock, which is nil or what suspend returned.
func openStore(ctx context.Context, c *Config, lock *os.File) (_ *store, err error) {
	s := &store{}
	s.server, err = embedded.Start(ctx, embedded.Config{Dir: c.Dir, Listen: c.Listen, MaxStore: c.MaxBytes + beside, Lock: lock, Log: c.Log})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("opening the outbox in %s: %w", c.Dir, err)
		}
	}()
	// The next life of the server must be where clients know this one.
	if url := s.server.ClientURL(); url != "" {
		c.Listen = url[len("nats://"):]
	}
	// That it connects, each time the outbox has rested, is no news.
	log := c.Log.Level(max(c.Log.GetLevel(), zerolog.WarnLevel))
	s.nc, err = jetstream.Connect(ctx, jetstream.Config{InProcess: s.server, Name: "renat outbox", Wait: openWait, Log: log})
	if err != nil {
		return nil, err
	}
	if s.js, err = natsjs.New(s.nc); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	s.stream, err = s.js.CreateOrUpdateStream(ctx, natsjs.StreamConfig{
		Name: stream, Description: "Incidents of this node, sent to NATS and not yet",
		Subjects: []string{subject}, Storage: natsjs.FileStorage, Discard: natsjs.DiscardOld,
		// No age: what was not sent must not expire, least of all when the
		// clock is set ahead.
		MaxBytes: c.MaxBytes, Duplicates: duplicates,
	})
	if err != nil {
		return nil, err
	}
	info := s.stream.CachedInfo()
	s.created, s.last = info.Created, info.State.LastSeq
	return s, nil
}

func (s *store) close() { _ = s.suspend().Close() } // nothing is written to the lock

// suspend closes the store, and keeps its directory locked.
func (s *store) suspend() *os.File {
	if s.nc != nil {
		s.nc.Close()
	}
	return s.server.Suspend()
}

// put returns when the incident is on disk, with its sequence.
func (s *store) put(ctx context.Context, i *incident.Incident) (uint64, error) {
	data, err := i.MarshalCloudEvent()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errUnstorable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	ack, err := s.js.Publish(ctx, subject, data, natsjs.WithMsgID(i.ID))
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, natsjs.ErrStreamMessageExceedsMaximum) {
		return 0, fmt.Errorf("%w: %w", errUnstorable, err)
	}
	if err != nil {
		return 0, fmt.Errorf("storing incident %s in the outbox: %w", i.ID, err)
	}
	return ack.Sequence, nil
}

// errEnd says that there is no such incident yet.
var errEnd = errors.New("end of the outbox")

// item is an incident as it is stored.
type item struct {
	seq      uint64
	at       time.Time
	incident *incident.Incident // nil if it cannot be read
	err      error              // why not
}

// next returns the first incident at seq or later; errEnd if there is none.
func (s *store) next(ctx context.Context, seq uint64) (item, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	// NextFor skips what was dropped meanwhile.
	m, err := s.stream.GetMsg(ctx, seq, natsjs.WithGetMsgSubject(subject))
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return item{}, errEnd
	}
	if err != nil {
		return item{}, fmt.Errorf("reading the outbox: %w", err)
	}
	i, err := incident.UnmarshalCloudEvent(m.Data)
	return item{seq: m.Sequence, at: m.Time, incident: i, err: err}, nil
}

// Recent returns the newest incidents on disk, at most n, the oldest first. It
// fails while the server is down, or at rest.
func (o *Outbox) Recent(ctx context.Context, n int) ([]*incident.Incident, error) {
	o.mu.Lock()
	s := o.store
	o.mu.Unlock()
	if s == nil {
		return nil, errors.New("reading the outbox: its server is down")
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the outbox: %w", err)
	}
	seq := max(info.State.FirstSeq, info.State.LastSeq-min(info.State.LastSeq, uint64(n-1)))
	var all []*incident.Incident
	for {
		it, err := s.next(ctx, seq)
		if errors.Is(err, errEnd) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if it.incident != nil {
			all = append(all, it.incident)
		}
		seq = it.seq + 1
	}
}
