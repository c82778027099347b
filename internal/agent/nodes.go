// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
)

// tellEvery is how often NATS learns how the node is doing.
const tellEvery = 10 * time.Second

// tell puts the node's status on the board and into NATS until ctx ends.
func (a *agent) tell(ctx context.Context) error {
	ticks := time.NewTicker(tellEvery)
	defer ticks.Stop()
	teller := jetstream.NewTeller(a.nats, a.config.Replicas)
	ready := readiness{}
	for failing := ""; ; {
		s := a.status()
		ready.log(a.log, s.Parts)
		a.board.SetStatus(*s, time.Now())
		var err error
		if a.nats.IsConnected() { // else readyz says so
			err = teller.Put(ctx, s.Cluster, s.Node, s)
		}
		a.twin.Store(errors.Is(err, jetstream.ErrSameNode))
		switch {
		case errors.Is(err, jetstream.ErrSameNode): // part of the status
		case err != nil && ctx.Err() == nil && err.Error() != failing:
			failing = err.Error()
			a.log.Warn().Err(err).Msg("NATS does not learn how this node is doing")
		case err == nil:
			failing = ""
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

// readiness is which parts were ready when last looked at.
type readiness map[string]bool

// log says what changed; at first, what is waited for.
func (r readiness) log(log zerolog.Logger, parts []nodestatus.Part) {
	for _, p := range parts {
		before, known := r[p.Name]
		r[p.Name] = p.Ready
		switch {
		case p.Ready && known && !before:
			log.Info().Str("part", p.Name).Msg("ready")
		case !p.Ready && (before || !known):
			log.Warn().Str("part", p.Name).Str("problem", p.Problem).Msg("waiting")
		}
	}
}
