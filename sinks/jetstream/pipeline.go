// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
)

const (
	// ackTimeout is how long an incident in the pipeline waits for its
	// acknowledgement; it spans a short restart of the server.
	ackTimeout = 10 * time.Second
	// resends is how often Flush sends an incident again, resendPause how long
	// it waits before each time.
	resends     = 3
	resendPause = 250 * time.Millisecond
)

// pipeline is what Publish has sent and the server has not answered.
type pipeline struct {
	// slots holds one token for each of them.
	slots chan struct{}

	// mu guards the rest, which the client's goroutines write.
	mu sync.Mutex
	// again was refused for now, or its answer was lost; Flush sends it again.
	again []*nats.Msg
	// first is the first error since the last Flush, failures how many
	// incidents were given up, last why something is in again.
	first, last error
	failures    int
}

// Publish sends i without waiting for the server; at most
// PublisherConfig.MaxPending incidents are on their way. Flush tells whether
// they arrived; the error of Publish is about i alone, unless it is that of a
// Flush which was needed to make room. Publish and Flush are for one goroutine.
func (p *Publisher) Publish(ctx context.Context, i *incident.Incident) error {
	msg, err := p.prepare(ctx, i)
	if err != nil {
		p.failed.Add(1)
		return err
	}
	if msg == nil {
		p.duplicates.Add(1)
		return nil
	}
	if p.pipeline.backlog() >= p.config.MaxPending {
		if err := p.Flush(ctx); err != nil {
			p.failed.Add(1)
			return fmt.Errorf("incident %s was not sent: %w", i.ID, err)
		}
	}
	if err := p.push(ctx, msg); err != nil {
		p.failed.Add(1)
		return sendError(i.ID, err)
	}
	return nil
}

// push sends msg when a slot is free.
func (p *Publisher) push(ctx context.Context, msg *nats.Msg) error {
	select {
	case p.pipeline.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, err := p.js.PublishMsgAsync(msg); err != nil {
		<-p.pipeline.slots
		return err
	}
	return nil
}

// acked and refused are called by the NATS client, once for each message.
func (p *Publisher) acked(_ natsjs.JetStream, msg *nats.Msg, ack *natsjs.PubAck) {
	p.count(msg, ack)
	<-p.pipeline.slots
}

func (p *Publisher) refused(_ natsjs.JetStream, msg *nats.Msg, err error) {
	err = sendError(msg.Header.Get(natsjs.MsgIDHeader), err)
	if Permanent(err) {
		p.failed.Add(1)
		p.pipeline.giveUp(err, 1)
	} else {
		p.pipeline.keep(err, msg)
	}
	<-p.pipeline.slots
}

func (l *pipeline) backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.again)
}

// wait returns when no message is without an answer.
func (l *pipeline) wait(ctx context.Context) error {
	taken := 0
	defer func() {
		for range taken {
			<-l.slots
		}
	}()
	for range cap(l.slots) {
		select {
		case l.slots <- struct{}{}:
			taken++
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Flush waits until the server has answered for every incident, and sends
// again, up to three times, what it did not take. The error tells how many
// incidents since the last Flush were not stored, and why the first was not.
func (p *Publisher) Flush(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		if err := p.pipeline.wait(ctx); err != nil {
			return fmt.Errorf("waiting for JetStream: %w", err)
		}
		again, last := p.pipeline.take()
		if len(again) == 0 {
			return p.pipeline.result()
		}
		if attempt > resends || ctx.Err() != nil {
			p.failed.Add(uint64(len(again)))
			p.pipeline.giveUp(last, len(again))
			return p.pipeline.result()
		}
		// When ctx ends here, resend keeps everything and the next turn gives up.
		_ = sleep(ctx, resendPause)
		p.resend(ctx, again)
	}
}

// resend sends messages another time; what it cannot send stays for the next.
func (p *Publisher) resend(ctx context.Context, again []*nats.Msg) {
	p.mu.Lock()
	p.ready = false // the stream may be gone by now
	err := p.ensure(ctx)
	p.mu.Unlock()
	for n, msg := range again {
		if err == nil {
			err = p.push(ctx, msg)
		}
		if err != nil {
			p.pipeline.keep(err, again[n:]...)
			return
		}
	}
}

func (l *pipeline) keep(err error, again ...*nats.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = append(l.again, again...)
	l.last = err
}

func (l *pipeline) giveUp(err error, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = err
	}
	l.failures += n
}

func (l *pipeline) take() ([]*nats.Msg, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := l.again
	l.again = nil
	return again, l.last
}

// result returns what failed since it was last called.
func (l *pipeline) result() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err, n := l.first, l.failures
	l.first, l.failures = nil, 0
	if err == nil {
		return nil
	}
	return fmt.Errorf("%d incidents were not stored: %w", n, err)
}
