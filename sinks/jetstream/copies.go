// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// stored are the streams, and the buckets' streams, that a hub needs.
var stored = []string{Stream, DeadStream, "KV_" + NodesBucket, "KV_" + stateBucket, "KV_" + leaseBucket}

// Copies is how many copies NATS keeps of a stream.
type Copies struct {
	Stream   string
	Replicas int
	// Raised says that there were fewer before.
	Raised bool
	// Few is why there are too few: fewer than asked for, or one in a cluster;
	// nil: there are enough.
	Few error
}

// Replicate raises the copies of what a hub stores to replicas, where there are
// fewer, and returns how many of each stream there are, of those that exist.
// The error is that of NATS.
func Replicate(ctx context.Context, nc *nats.Conn, replicas int) (all []Copies, err error) {
	js := open(nc)
	for _, name := range stored {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			continue // who makes it asks for as many
		}
		if err != nil {
			return all, fmt.Errorf("looking at the copies of stream %s: %w", name, explain(err))
		}
		info := s.CachedInfo()
		c := Copies{Stream: name, Replicas: info.Config.Replicas}
		switch {
		case c.Replicas < replicas:
			info.Config.Replicas = replicas
			if _, err := js.UpdateStream(ctx, info.Config); err != nil {
				c.Few = fmt.Errorf("raising the copies of stream %s from %d to %d: %w", name, c.Replicas, replicas, explain(err))
			} else {
				c.Replicas, c.Raised = replicas, true
			}
		case c.Replicas == 1 && info.Cluster != nil && info.Cluster.Name != "":
			c.Few = fmt.Errorf("NATS is a cluster, and keeps one copy of stream %s: when its server is away, so is the stream", name)
		}
		all = append(all, c)
	}
	return all, nil
}
