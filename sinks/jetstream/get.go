// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
)

// ErrNotStored says that the stream does not hold a message, or not any more.
var ErrNotStored = errors.New("the message is not stored")

// Get returns the incident with a sequence. The error is ErrNotStored,
// ErrNoStream, incident.ErrNotIncident or what is wrong with NATS; ctx should
// have an end.
func Get(ctx context.Context, nc *nats.Conn, sequence uint64) (Stored, error) {
	s, err := open(nc).Stream(ctx, Stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		err = ErrNoStream
	}
	if err != nil {
		return Stored{}, fmt.Errorf("reading message %d: %w", sequence, explain(err))
	}
	m, err := s.GetMsg(ctx, sequence)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return Stored{}, fmt.Errorf("message %d: %w", sequence, ErrNotStored)
	}
	if err != nil {
		return Stored{}, fmt.Errorf("reading message %d: %w", sequence, explain(err))
	}
	i, err := incident.UnmarshalCloudEvent(m.Data)
	if err != nil {
		return Stored{}, fmt.Errorf("message %d: %w", sequence, err)
	}
	return Stored{Incident: i, Sequence: m.Sequence, At: m.Time}, nil
}
