// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
)

// PublisherConfig is how a Publisher stores incidents.
type PublisherConfig struct {
	// Stream is how to create the stream if it is missing.
	Stream StreamConfig
	// MaxPending is how many incidents Publish may have sent without an
	// acknowledgement; 0: DefaultMaxPending.
	MaxPending int
	// SkipStored finds out, before the first incident of a subject (that is,
	// of a node and kind), and again when it is not known whether one was
	// stored, which ids the stream holds, and skips those: an
	// incident that is still in the stream is never stored twice, however old
	// it is. It is for replays and for backlogs older than the window of
	// StreamConfig.Duplicates. It reads the headers of all stored incidents of
	// the subject, and keeps some 170 bytes in memory for each.
	SkipStored bool
}

// DefaultMaxPending keeps a remote server busy without filling the client's
// 8 MiB reconnect buffer.
const DefaultMaxPending = 256

// Counts are what became of the incidents given to a Publisher.
type Counts struct {
	// Stored are new in the stream.
	Stored uint64
	// Duplicates were in the stream before. An incident whose acknowledgement
	// was lost and which was sent again counts here too.
	Duplicates uint64
	// Failed were not stored, or not known to be.
	Failed uint64
}

// Publisher stores incidents in the stream, each once. Make one with
// NewPublisher and close it before its connection.
type Publisher struct {
	nc     *nats.Conn
	js     natsjs.JetStream
	config PublisherConfig

	stored, duplicates, failed atomic.Uint64

	// mu guards what follows. It is held while the stream is created and its
	// ids are read: nothing can be sent before.
	mu    sync.Mutex
	ready bool
	// window is in which the stream knows an id again.
	window time.Duration
	known  storedIDs

	pipeline pipeline
}

// NewPublisher returns a publisher on nc. It does no I/O: the stream is
// created by Ensure, or else by the first incident.
func NewPublisher(nc *nats.Conn, c PublisherConfig) (*Publisher, error) {
	if c.MaxPending == 0 {
		c.MaxPending = DefaultMaxPending
	}
	p := &Publisher{nc: nc, config: c}
	js, err := natsjs.New(nc,
		natsjs.WithPublishAsyncTimeout(ackTimeout),
		natsjs.WithPublishAsyncAckHandler(p.acked),
		natsjs.WithPublishAsyncErrHandler(p.refused))
	if err != nil {
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	p.js = js
	p.pipeline.slots = make(chan struct{}, c.MaxPending)
	return p, nil
}

// Ensure creates the stream, or adds the subjects of incidents to the one
// that exists. Calling it again does nothing.
func (p *Publisher) Ensure(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ensure(ctx)
}

func (p *Publisher) ensure(ctx context.Context) error {
	if p.ready {
		return nil
	}
	window, err := ensureStream(ctx, p.js, p.config.Stream)
	if err != nil {
		return err
	}
	p.ready, p.window = true, window
	return nil
}

// Window makes sure of the stream, as Ensure does, and returns for how long it
// knows the id of an incident: one that is sent again later is stored twice,
// without SkipStored.
func (p *Publisher) Window(ctx context.Context) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.ensure(ctx)
	return p.window, err
}

// Send stores i and returns when it is on the server's disk. duplicate says
// that it was there before. Without a deadline in ctx it gives up after five
// seconds; see Permanent for whether to try again.
func (p *Publisher) Send(ctx context.Context, i *incident.Incident) (duplicate bool, err error) {
	msg, err := p.prepare(ctx, i)
	if err != nil {
		p.failed.Add(1)
		return false, err
	}
	if msg == nil {
		p.duplicates.Add(1)
		return true, nil
	}
	ack, err := p.js.PublishMsg(ctx, msg)
	if errors.Is(err, natsjs.ErrNoStreamResponse) {
		// Somebody removed the stream, or the server lost its store.
		p.mu.Lock()
		p.ready = false
		err = p.ensure(ctx)
		p.mu.Unlock()
		if err == nil {
			ack, err = p.js.PublishMsg(ctx, msg)
		}
	}
	if err != nil {
		p.failed.Add(1)
		p.doubt(msg)
		return false, sendError(i.ID, err)
	}
	p.count(msg, ack)
	return ack.Duplicate, nil
}

// prepare returns i as a message, or nil if the stream is known to hold it.
func (p *Publisher) prepare(ctx context.Context, i *incident.Incident) (*nats.Msg, error) {
	data, err := i.MarshalCloudEvent()
	if err != nil {
		return nil, permanentError{err}
	}
	msg := &nats.Msg{Subject: i.Subject(), Header: i.Headers(), Data: data}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.ensure(ctx); err != nil {
		return nil, err
	}
	if !p.config.SkipStored {
		return msg, nil
	}
	known, err := p.known.has(ctx, p.js, msg.Subject, i.ID)
	if err != nil {
		return nil, fmt.Errorf("finding out which incidents are stored: %w", explain(err))
	}
	if known {
		return nil, nil
	}
	return msg, nil
}

// doubt notes that msg may be stored or not, and that the stream may have changed.
func (p *Publisher) doubt(msg *nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = false
	delete(p.known, msg.Subject)
}

func (p *Publisher) count(msg *nats.Msg, ack *natsjs.PubAck) {
	if p.config.SkipStored {
		p.mu.Lock()
		p.known.add(msg.Subject, msg.Header.Get(natsjs.MsgIDHeader))
		p.mu.Unlock()
	}
	if ack.Duplicate {
		p.duplicates.Add(1)
	} else {
		p.stored.Add(1)
	}
}

// Counts returns what became of the incidents so far. Those that Publish has
// sent and the server has not yet answered are in none of them.
func (p *Publisher) Counts() Counts {
	return Counts{Stored: p.stored.Load(), Duplicates: p.duplicates.Load(), Failed: p.failed.Load()}
}

// Close frees what the publisher holds. It does not wait: call Flush first.
// The connection stays open.
func (p *Publisher) Close() { p.js.CleanupPublisher() }
