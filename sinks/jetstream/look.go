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

// Store is a stream or bucket in which renat keeps something.
type Store struct {
	Name            string // of the stream; a bucket's begins with KV_
	Messages, Bytes uint64
	Replicas        int // copies that it should have
	// Away are the servers with a copy that do not answer, or have fallen
	// behind.
	Away []string
	// Lag is how many changes the one that is furthest behind lacks.
	Lag uint64
	// OtherSubjects are what the stream of incidents takes beside incidents, and
	// Others how many of its messages are none of their subjects: nobody reads them.
	OtherSubjects []string
	Others        uint64
}

// Stores are the streams and buckets that there are, and creates none.
func Stores(ctx context.Context, nc *nats.Conn) ([]Store, error) {
	js := open(nc)
	var all []Store
	for _, name := range stored {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return all, fmt.Errorf("looking at stream %s: %w", name, explain(err))
		}
		info := s.CachedInfo()
		store := Store{Name: name, Messages: info.State.Msgs, Bytes: info.State.Bytes, Replicas: info.Config.Replicas}
		if info.Cluster != nil {
			for _, peer := range info.Cluster.Replicas {
				if peer.Offline || !peer.Current {
					store.Away = append(store.Away, peer.Name)
				}
				store.Lag = max(store.Lag, peer.Lag)
			}
		}
		if name == Stream {
			if store.OtherSubjects, store.Others, err = others(ctx, s); err != nil {
				return all, fmt.Errorf("looking at the subjects of stream %s: %w", name, explain(err))
			}
		}
		all = append(all, store)
	}
	return all, nil
}

// Others returns what the stream of incidents takes beside incidents, and how many
// messages it has of that; none if there is no stream.
func Others(ctx context.Context, nc *nats.Conn) (subjects []string, messages uint64, err error) {
	s, err := open(nc).Stream(ctx, Stream)
	if err == nil {
		subjects, messages, err = others(ctx, s)
	}
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		err = fmt.Errorf("looking at the subjects of stream %s: %w", Stream, explain(err))
	}
	return subjects, messages, err
}

func others(ctx context.Context, s natsjs.Stream) (subjects []string, messages uint64, err error) {
	if subjects = otherSubjects(s.CachedInfo().Config.Subjects); len(subjects) == 0 {
		return nil, 0, nil
	}
	info, err := s.Info(ctx, natsjs.WithSubjectFilter(incident.AllSubjects))
	if err != nil {
		return subjects, 0, err
	}
	messages = info.State.Msgs
	for _, n := range info.State.Subjects {
		messages -= min(n, messages)
	}
	return subjects, messages, nil
}

// Backlog is how many stored incidents the consumer of a name has not
// acknowledged: those that wait for it, and those that it has.
func Backlog(ctx context.Context, nc *nats.Conn, name string) (uint64, error) {
	c, err := open(nc).Consumer(ctx, Stream, name)
	if err != nil {
		return 0, fmt.Errorf("looking at consumer %s: %w", name, explain(err))
	}
	info := c.CachedInfo()
	return info.NumPending + uint64(max(info.NumAckPending, 0)), nil //nolint:gosec // not negative
}

// LeaseHolder names the process that has the lease; "" if none has.
func LeaseHolder(ctx context.Context, nc *nats.Conn) (string, error) {
	kv, err := open(nc).KeyValue(ctx, leaseBucket)
	if err == nil {
		var e natsjs.KeyValueEntry
		if e, err = kv.Get(ctx, leaseKey); err == nil {
			return string(e.Value()), nil
		}
	}
	if errors.Is(err, natsjs.ErrBucketNotFound) || errors.Is(err, natsjs.ErrKeyNotFound) {
		return "", nil
	}
	return "", fmt.Errorf("reading who has the lease: %w", explain(err))
}
