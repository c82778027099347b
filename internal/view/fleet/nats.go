// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
)

// ErrAgentsOnly says that NATS does not know the answer.
var ErrAgentsOnly = errors.New("only agents know what is in the map now: leave out --nats-url")

// NATS is a Source of what the agents told NATS.
type NATS struct {
	Conn *nats.Conn
	Log  zerolog.Logger
}

// Nodes implements Source. Who did not answer is not known: a node that is
// silent for a minute is gone from NATS.
func (s *NATS) Nodes(ctx context.Context) (Nodes, error) {
	bucket, err := jetstream.OpenNodes(ctx, s.Conn, 0)
	if err != nil {
		return Nodes{}, err
	}
	all, err := bucket.List(ctx)
	if err != nil {
		return Nodes{}, err
	}
	var n Nodes
	for _, e := range all {
		status, err := nodestatus.Parse(e.Status)
		if err = cmp.Or(e.Err, err); err != nil {
			n.Silent = append(n.Silent, Silence{Node: e.Node, Why: err.Error()})
			continue
		}
		n.Statuses = append(n.Statuses, status)
	}
	return n, nil
}

// Incidents implements Source; they come with their evidence.
func (s *NATS) Incidents(ctx context.Context, q url.Values, limit int) (Incidents, error) {
	out := Incidents{Answered: 1}
	f, err := filter.Parse(q, time.Now())
	if err != nil {
		return out, err
	}
	err = jetstream.Read(ctx, s.Conn, jetstream.ReadOptions{
		Last: limit, Since: f.Since, Kinds: f.Kinds, Match: f.Match, Log: s.Log,
	}, func(i jetstream.Stored) error {
		out.Incidents = append(out.Incidents, i.Incident)
		return nil
	})
	if errors.Is(err, jetstream.ErrNoStream) {
		err = nil // none yet
	}
	out.newest(limit)
	return out, err
}

// Incident implements Source.
func (s *NATS) Incident(ctx context.Context, id string) (*incident.Incident, error) {
	var found *incident.Incident
	err := jetstream.Read(ctx, s.Conn, jetstream.ReadOptions{
		Last: 1, Log: s.Log, Match: func(i *incident.Incident) bool { return i.ID == id },
	}, func(i jetstream.Stored) error {
		found = i.Incident
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("%w: NATS has not stored it, or removed it since", ErrUnknown)
	}
	return found, err
}

// Tops implements Source: ErrAgentsOnly.
func (s *NATS) Tops(context.Context, func(string) bool) (Tops, error) { return Tops{}, ErrAgentsOnly }

// AtRisk implements Source: ErrAgentsOnly.
func (s *NATS) AtRisk(context.Context) (AtRisk, error) { return AtRisk{}, ErrAgentsOnly }
