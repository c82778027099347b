// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble/enrich"
	"github.com/renat-project/renat/internal/agent/recall"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/jetstream"
)

// source returns what is known, once what was known before is loaded. It learns
// more until ctx ends.
func (e *enrichFlags) source(ctx context.Context) (enrich.Source, error) {
	switch {
	case e.recording != "":
		return e.fromRecording(ctx)
	case e.nats.URL != "":
		return e.fromNATS(ctx)
	}
	return e.fromAgent(ctx)
}

// fromRecording derives the incidents, then follows the map from its
// beginning as the flows go on.
func (e *enrichFlags) fromRecording(ctx context.Context) (enrich.Source, error) {
	rec, err := recording.Open(e.recording)
	if err != nil {
		return nil, err
	}
	log := e.log()
	bad := badLines(log, math.MaxInt)
	known := &recordedMap{table: recall.NewTable(), changes: &input{batches: make(chan []correlator.Event, 4)}}
	book := recall.New(known.mapping)
	c, err := correlator.New(correlator.Config{Node: rec.Meta.NodeName, Cluster: rec.Meta.ClusterName}, book.Add)
	if err != nil {
		return nil, err
	}
	if err := merge(ctx, c.Observe, rec.NAT(bad), &recordedFlows{rec: rec, bad: bad, log: log}); err != nil {
		return nil, err
	}
	c.Flush()
	go known.changes.pump(ctx, rec.NAT(&recording.BadLines{Max: math.MaxInt})) // which were told before
	return book, nil
}

// recordedMap is a recording's map at the time of the last flow. Hubble's stamps
// may be ahead of the kernel's by aheadOfKernel.
type recordedMap struct {
	changes *input
	table   *recall.Table
}

const aheadOfKernel = 20 * time.Millisecond

func (r *recordedMap) mapping(t correlator.Tuple, d correlator.Dir, at int64) (correlator.Addr, bool) {
	for r.changes.peek() && r.changes.events[0].Time <= at+int64(aheadOfKernel) {
		r.table.Note(&r.changes.events[0])
		r.changes.events = r.changes.events[1:]
	}
	return r.table.Mapping(t, d, at)
}

func (e *enrichFlags) fromNATS(ctx context.Context) (enrich.Source, error) {
	nc, err := e.nats.connect(ctx, "", e.log())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, nc.Close)
	book := recall.New(nil)
	loaded, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		failed <- jetstream.Read(ctx, nc.Conn, jetstream.ReadOptions{
			Follow: true, OnStored: func() { close(loaded) }, Log: e.log(),
		}, func(s jetstream.Stored) error {
			book.Add(s.Incident)
			return nil
		})
	}()
	select {
	case <-loaded:
		return book, nil
	case err := <-failed:
		return nil, err
	case <-time.After(natsWait):
		return nil, errors.New("NATS holds no incidents yet: is renat agent running, with the same --nats-url?")
	}
}

func (e *enrichFlags) fromAgent(ctx context.Context) (enrich.Source, error) {
	agent, err := fleet.NewHTTPAgent(e.agent)
	if err != nil {
		return nil, usage.Errorf("--agent %w", err)
	}
	agent.TokenFile = e.token
	live := recall.NewLive(func(t correlator.Tuple, d correlator.Dir) (correlator.Addr, bool, error) {
		to, ok, err := agent.Mapping(ctx, t.Protocol.String(), t.Src.String(), t.Dst.String(), d.String())
		if !ok {
			return correlator.Addr{}, false, err
		}
		return correlator.AddrOf(to), true, nil
	})
	book := recall.New(live.Mapping)
	if err := agent.All(ctx, book.Add); err != nil {
		return nil, fmt.Errorf("%w\nname the agent of this node with --agent, or use --nats-url or --recording", err)
	}
	log := e.log()
	go agent.Follow(ctx, book.Add, func(err error) { log.Warn().Err(err).Msg("no news from the agent, trying again") })
	return book, nil
}
