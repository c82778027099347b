// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	// patience is how long a scan with an end goes on without progress.
	patience = 15 * time.Second
	// retryPause is between two attempts to get a consumer.
	retryPause = 250 * time.Millisecond
	// heartbeat is how often the server shows that a quiet consumer lives; two
	// missing ones and the consumer is made anew.
	heartbeat = 2 * time.Second
	// pullExpiry must be more than twice the heartbeat.
	pullExpiry = 10 * time.Second
	// abandoned consumers are removed by the server after this.
	abandoned = time.Minute
	// forever is the end of a scan that has none.
	forever = math.MaxUint64
	// readAhead is how many messages are on their way to the reader.
	readAhead = 256
)

// start is where a scan begins: at a sequence, else at a time, else at the
// oldest message.
type start struct {
	seq  uint64
	time time.Time
}

// scanner reads a range of the stream in order, each message once. It makes
// its consumers itself, and not with nats.go's OrderedConsumer, because that
// one neither ends with a context while the server is away, nor at a sequence.
type scanner struct {
	js          natsjs.JetStream
	subjects    []string
	headersOnly bool

	// created tells a stream that was removed and made anew from the old one.
	created time.Time
}

// errAgain asks for a new consumer from the next message on.
var errAgain = errors.New("consumer lost")

// scan calls each for every message from a start to the sequence to, through
// restarts of the server and, if to is forever, a stream that is removed and
// made anew. It returns the error of each as it is, ctx's when that ends, and
// what keeps it from getting on: in a scan with an end ErrNoStream at once and
// anything else after some 15 seconds, in an endless one only that the
// connection was closed.
func (s *scanner) scan(ctx context.Context, from start, to uint64, each func(natsjs.Msg, *natsjs.MsgMetadata) error) error {
	progress := time.Now()
	for {
		before := from
		done, err := s.pass(ctx, &from, to, each)
		switch {
		case done:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, nats.ErrConnectionClosed), to != forever && errors.Is(err, ErrNoStream):
			return err
		case from != before:
			progress = time.Now()
		case to != forever && time.Since(progress) > patience:
			return fmt.Errorf("reading stream %s: %w", Stream, explain(err))
		}
		if err := sleep(ctx, retryPause); err != nil {
			return err
		}
	}
}

// pass reads with one consumer and moves from past what it read. It is done
// when the end was reached or each failed; any other error asks for another pass.
func (s *scanner) pass(ctx context.Context, from *start, to uint64, each func(natsjs.Msg, *natsjs.MsgMetadata) error) (done bool, err error) {
	bounded := to != forever
	if from.seq > to {
		return true, nil
	}
	cons, err := s.consumer(ctx, from)
	if err != nil {
		return false, err
	}
	if bounded && cons.CachedInfo().NumPending == 0 {
		return true, nil
	}
	it, err := cons.Messages(natsjs.PullMaxMessages(readAhead), natsjs.PullExpiry(pullExpiry),
		natsjs.PullHeartbeat(heartbeat), natsjs.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return false, err
	}
	defer it.Stop()
	ctx, cancel := s.untilReconnect(ctx)
	defer cancel()
	for want := uint64(1); ; want++ {
		msg, err := s.next(ctx, it, bounded)
		if err != nil {
			return false, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return false, err
		}
		if meta.Sequence.Consumer != want {
			return false, errAgain // some were lost on a broken connection
		}
		if meta.Sequence.Stream > to {
			return true, nil
		}
		if err := each(msg, meta); err != nil {
			return true, err
		}
		from.seq = meta.Sequence.Stream + 1
		if bounded && (meta.Sequence.Stream == to || meta.NumPending == 0) {
			return true, nil
		}
	}
}

// next returns the next message. In a scan with an end, a silence may mean
// that the rest has been removed meanwhile, which a new consumer can tell.
func (s *scanner) next(ctx context.Context, it natsjs.MessagesContext, bounded bool) (natsjs.Msg, error) {
	if bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, heartbeat)
		defer cancel()
	}
	return it.Next(natsjs.NextContext(ctx))
}

// untilReconnect returns a context that ends when the connection is made
// again: the server may have forgotten the consumer, and without this it takes
// two heartbeats to find out.
func (s *scanner) untilReconnect(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	status := s.js.Conn().StatusChanged(nats.CONNECTED)
	go func() {
		select {
		case <-status:
			cancel()
		case <-ctx.Done():
		}
		s.js.Conn().RemoveStatusListener(status)
	}()
	return ctx, cancel
}

func (s *scanner) consumer(ctx context.Context, from *start) (natsjs.Consumer, error) {
	info, err := streamInfo(ctx, s.js)
	if err != nil {
		return nil, err
	}
	if s.created.IsZero() {
		s.created = info.Created
	}
	if !info.Created.Equal(s.created) {
		// Another stream of the same name: all it holds is new.
		s.created, *from = info.Created, start{}
	}
	c := natsjs.ConsumerConfig{
		AckPolicy:         natsjs.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: abandoned,
		HeadersOnly:       s.headersOnly,
	}
	if len(s.subjects) == 1 {
		// Then it is in the subject of the request as well, by which a server
		// can restrict what a user reads.
		c.FilterSubject = s.subjects[0]
	} else {
		c.FilterSubjects = s.subjects
	}
	switch {
	case from.seq > 0:
		c.DeliverPolicy, c.OptStartSeq = natsjs.DeliverByStartSequencePolicy, from.seq
	case !from.time.IsZero():
		c.DeliverPolicy, c.OptStartTime = natsjs.DeliverByStartTimePolicy, &from.time
	}
	return s.js.CreateConsumer(ctx, Stream, c)
}

// streamInfo returns the state of the stream, or ErrNoStream.
func streamInfo(ctx context.Context, js natsjs.JetStream) (*natsjs.StreamInfo, error) {
	s, err := js.Stream(ctx, Stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil, ErrNoStream
	}
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
