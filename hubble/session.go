// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/correlator"
)

// Sizes for a stream of many small messages: whole batches in one read, and
// few window updates. They are also what a stalled client leaves in memory.
const (
	readBuffer = 128 << 10
	window1MiB = 1 << 20
)

// overlap is how far before the last flow a new stream begins after an
// interruption; repeats are removed.
const overlap = 2 * time.Second

// session is what one Run keeps from stream to stream. Run's goroutine owns
// it; the watch goroutine of a stream uses known, patience and received, and
// has ended before the next stream begins.
type session struct {
	c      *Client
	emit   func(correlator.Event, *observer.GetFlowsResponse)
	dec    *decoder
	win    window
	since  time.Time // asked for until a flow was received; zero: everything
	masked bool
	whole  bool // emit wants the messages, too

	known    instance
	patience int           // intervals of silence before subscribing again
	received atomic.Uint64 // messages
	flows    uint64        // received in this stream: the server has seen as many, at least
}

func newSession(c *Client, emit func(correlator.Event, *observer.GetFlowsResponse)) *session {
	s := &session{c: c, emit: emit, dec: newDecoder(maxPeers), since: c.cfg.Since, masked: true, patience: 1}
	if c.cfg.Follow && s.since.IsZero() {
		s.since = time.Now()
	}
	return s
}

// stream subscribes once and emits until the stream ends. It returns nil only
// at the end of a stream that does not follow. progress tells that the server
// sent anything.
func (s *session) stream(ctx context.Context) (progress bool, err error) {
	conn, err := s.c.target.dial(clientPace,
		grpc.WithReadBufferSize(readBuffer),
		grpc.WithInitialWindowSize(window1MiB),
		grpc.WithInitialConnWindowSize(window1MiB),
	)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before := s.received.Load()
	s.flows = 0
	err = s.subscribe(ctx, conn, cancel)
	s.known.seen = max(s.known.seen, s.flows)
	s.c.state.update(func(st *Stats) { st.Connected = false })
	progress = s.received.Load() != before
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilent):
		return progress, errSilent
	case cause != nil:
		err = cause
	case errors.Is(err, io.EOF):
		if !s.c.cfg.Follow {
			return progress, nil
		}
		return progress, s.c.named("reading flows from Hubble at", errEnded)
	case s.masked && strings.Contains(err.Error(), "invalid fieldmask"):
		return progress, errMask
	}
	return progress, s.c.explain(conn, err)
}

// subscribe returns why the stream ended, which is never nil.
func (s *session) subscribe(ctx context.Context, conn *connection, cancel context.CancelCauseFunc) error {
	api := observer.NewObserverClient(conn)
	st, err := s.await(ctx, api)
	if err != nil {
		return err
	}
	restarted := s.meet(st)
	req := request(s.c.cfg.ExcludeCIDRs, s.masked)
	req.Follow = s.c.cfg.Follow
	if since := s.resume(); !since.IsZero() {
		req.Since = timestamppb.New(since)
	} else {
		// Asked for the first flows of an empty ring, an agent reports lost
		// events without end (1.20.2).
		req.First = !req.Follow && st.GetNumFlows() > 0
	}
	if restarted { // no flow of the old agent can come again
		s.win.fresh = false
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true},
		observer.Observer_GetFlows_FullMethodName, grpc.ForceCodecV2(codec{}))
	if err != nil {
		return err
	}
	if err := stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg knows why
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	s.c.state.update(func(st *Stats) { st.Connected, st.LastError = true, ""; st.Streams++ })
	if s.c.cfg.Follow {
		var wg sync.WaitGroup
		defer wg.Wait()
		watching, stop := context.WithCancel(ctx)
		defer stop()
		wg.Go(func() { s.watch(watching, api, st, cancel) })
	}
	m := message{dec: s.dec, keep: s.whole}
	for {
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		s.received.Add(1)
		s.take(&m)
	}
}

// resume returns the flow time to ask from. A clock that was set back must
// not make the server hold back every flow until it has caught up.
func (s *session) resume() time.Time {
	last := s.win.resume(int64(overlap))
	if last == 0 {
		return s.since
	}
	since := time.Unix(0, last)
	if latest := time.Now().Add(-overlap); s.c.cfg.Follow && since.After(latest) {
		return latest
	}
	return since
}

// take counts a message and emits what it holds.
func (s *session) take(m *message) {
	flow := m.ok && m.ev.Kind == correlator.KindFlow
	if m.err != nil {
		m.ev = correlator.Event{Kind: correlator.KindLoss, Loss: correlator.Loss{From: correlator.LossHubbleDecode, Count: 1}}
		m.ev.Time, _ = m.dec.rec.outer.unix()
	} else if !m.ok {
		s.c.state.update(func(st *Stats) { st.Ignored++ })
		if s.whole {
			s.pass(m)
		}
		return
	}
	last := s.win.last
	if flow {
		s.flows++
	}
	repeat, gap := s.win.add(m.ev.Time, m.key, flow)
	s.count(m, flow, repeat)
	if repeat {
		return
	}
	if gap {
		s.lose(last, m.ev.Time)
	}
	if !flow {
		s.date(&m.ev)
	}
	s.emit(m.ev, m.resp)
}

// pass emits a message that makes no event, once.
func (s *session) pass(m *message) {
	if repeat, _ := s.win.add(0, m.key, false); !repeat {
		s.emit(correlator.Event{}, m.resp)
	}
}

func (s *session) count(m *message, flow, repeat bool) {
	s.c.state.mu.Lock()
	defer s.c.state.mu.Unlock()
	st := &s.c.state.stats
	switch {
	case repeat:
		st.Repeats++
	case flow:
		st.Flows++
	case m.err != nil:
		st.Undecodable++
	default:
		st.Lost += m.ev.Loss.Count
	}
}
