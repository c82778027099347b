// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/board"
	"github.com/renat-project/renat/sinks/jetstream"
)

const (
	// fetchWithin is how long JetStream may take to return one incident.
	fetchWithin = 3 * time.Second
	// lookEvery is how often the hub looks whether NATS is there.
	lookEvery = 250 * time.Millisecond
	// countEvery is how often it counts what else is in the stream of incidents.
	countEvery = 30 * time.Second
)

// What is done for the page, and what it says while it cannot show what is new.
const (
	readingIncidents = "reading incidents for the page"
	readingNodes     = "reading nodes for the page"

	away    = "NATS is away: what happened since is missing here until it is back"
	loading = "the stored incidents are still being read"
)

// newBoard returns the board that the page shows. It fetches whole incidents
// from the stream.
func newBoard(c Config) *board.Board {
	return board.New(board.Config{Incidents: cmp.Or(c.Incidents, DefaultIncidents), Whole: func(ctx context.Context, sequence uint64) (*incident.Incident, error) {
		if !c.NATS.IsConnected() {
			return nil, errors.New("NATS, which stores its evidence, is away")
		}
		ctx, cancel := context.WithTimeout(ctx, fetchWithin)
		defer cancel()
		s, err := jetstream.Get(ctx, c.NATS, sequence)
		if errors.Is(err, jetstream.ErrNotStored) || errors.Is(err, jetstream.ErrNoStream) {
			err = fmt.Errorf("%w: %w", board.ErrGone, err)
		}
		return s.Incident, err
	}})
}

// show keeps the board up to date until ctx ends, whether this hub is the
// active one or not.
func (h *Hub) show(ctx context.Context) {
	var problems problems
	problems.set(readingIncidents, loading)
	var background sync.WaitGroup
	defer background.Wait()
	again := func(what string, run func() error) {
		for ctx.Err() == nil {
			if err := run(); err != nil && ctx.Err() == nil {
				complain(&h.complaints, h.config.Log, err, what)
				problems.set(what, err.Error())
				pause(ctx, retryAfter)
			}
		}
	}
	background.Go(func() { again(readingIncidents, func() error { return h.showIncidents(ctx, &problems) }) })
	background.Go(func() { again(readingNodes, func() error { return h.showNodes(ctx, &problems) }) })
	background.Go(func() { h.countOthers(ctx) })
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		problem := problems.first()
		if !h.config.NATS.IsConnected() {
			problem = away
		}
		h.board.SetProblem(problem, time.Now())
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// showIncidents puts the newest stored incidents on the board, and then those
// that come.
func (h *Hub) showIncidents(ctx context.Context, problems *problems) error {
	problems.set(readingIncidents, loading)
	if err := ensureStream(ctx, h.config); err != nil {
		return err
	}
	put := h.board.Load
	return jetstream.Read(ctx, h.config.NATS, jetstream.ReadOptions{
		Follow: true, Tail: uint64(h.board.Capacity()), Log: h.config.Log,
		OnStored: func() {
			h.board.Loaded()
			put = h.board.Add
			problems.set(readingIncidents, "")
		},
		OnGarbled: func(sequence uint64, subject string, err error) {
			h.metrics.unreadable.Inc()
			h.config.Log.Debug().Uint64("sequence", sequence).Str("subject", subject).Err(err).Msg("not shown: a message that is no incident")
		},
	}, func(s jetstream.Stored) error {
		put(s.Incident, s.Sequence)
		return nil
	})
}

// showNodes puts the status of each node on the board.
func (h *Hub) showNodes(ctx context.Context, problems *problems) error {
	nodes, err := jetstream.OpenNodes(ctx, h.config.NATS, h.config.Replicas)
	if err != nil {
		return err
	}
	problems.set(readingNodes, "")
	return nodes.Watch(ctx, func(e jetstream.NodeEvent) error {
		if e.Status == nil && e.Err == nil {
			return nil // all have come, or one is gone
		}
		status, err := nodestatus.Parse(e.Status)
		if err = cmp.Or(e.Err, err); err != nil {
			complain(&h.complaints, h.config.Log, fmt.Errorf("node %s: %w", e.Node, err), "skipping the status of a node")
			return nil
		}
		h.board.SetStatus(*status, time.Now())
		return nil
	})
}

// countOthers keeps count of the messages in the stream of incidents that are on
// others' subjects, until ctx ends. While NATS is away the count stays as it was.
func (h *Hub) countOthers(ctx context.Context) {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, fetchWithin)
		if _, n, err := jetstream.Others(once, h.config.NATS); err == nil {
			h.metrics.others.Set(float64(n))
		}
		cancel()
		pause(ctx, countEvery)
	}
}

// problems are what is wrong, by what it keeps from being done.
type problems struct {
	// mu guards texts.
	mu    sync.Mutex
	texts map[string]string
}

func (p *problems) set(what, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.texts == nil {
		p.texts = map[string]string{}
	}
	p.texts[what] = text
}

// first returns one of them, "" if there is none.
func (p *problems) first() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.texts {
		if text != "" {
			return text
		}
	}
	return ""
}
