// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
)

const (
	stateBucket = "RENAT_HUB"
	// stateTTL removes what nobody has written for long; longer than any
	// group may be quiet.
	stateTTL = 31 * 24 * time.Hour
)

// ErrStale says that another process wrote a state since it was read.
var ErrStale = errors.New("another process has written the state meanwhile")

// State is a value with the revision it has in the store.
type State struct {
	Value    []byte
	Revision uint64
}

// States keeps small states by owner and key in a key-value bucket. It is safe
// for concurrent use.
type States struct{ kv natsjs.KeyValue }

// OpenStates opens the store, or creates it.
func OpenStates(ctx context.Context, nc *nats.Conn, replicas int) (*States, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	kv, err := bucket(ctx, js, natsjs.KeyValueConfig{
		Bucket: stateBucket, Description: "What renat hub has told of which group", TTL: stateTTL, Replicas: max(replicas, 1),
	})
	if err != nil {
		return nil, err
	}
	return &States{kv}, nil
}

// Load returns the states of owner by key.
func (s *States) Load(ctx context.Context, owner string) (map[string]State, error) {
	w, err := s.kv.Watch(ctx, incident.EncodeToken(owner)+".*", natsjs.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("reading the states of %s: %w", owner, explain(err))
	}
	defer w.Stop() //nolint:errcheck // the connection is gone then, and the watch with it
	all := map[string]State{}
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil, fmt.Errorf("reading the states of %s: the connection was closed", owner)
			}
			if e == nil { // all that is stored has come
				return all, nil
			}
			key, err := incident.DecodeToken(e.Key()[len(incident.EncodeToken(owner))+1:])
			if err == nil {
				all[key] = State{Value: e.Value(), Revision: e.Revision()}
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("reading the states of %s: %w", owner, ctx.Err())
		}
	}
}

// Put stores value if the key still has the revision, 0 for a key that does
// not exist, and returns the new one. ErrStale: it has another.
func (s *States) Put(ctx context.Context, owner, key string, value []byte, revision uint64) (uint64, error) {
	var err error
	name := incident.EncodeToken(owner) + "." + incident.EncodeToken(key)
	if revision == 0 {
		revision, err = s.kv.Create(ctx, name, value)
	} else {
		revision, err = s.kv.Update(ctx, name, value, revision)
	}
	return revision, stateError("writing", key, err)
}

// Delete removes a state, if it still has the revision.
func (s *States) Delete(ctx context.Context, owner, key string, revision uint64) error {
	err := s.kv.Purge(ctx, incident.EncodeToken(owner)+"."+incident.EncodeToken(key), natsjs.LastRevision(revision))
	return stateError("removing", key, err)
}

func stateError(doing, key string, err error) error {
	if err == nil {
		return nil
	}
	if isConflict(err) {
		return fmt.Errorf("%s the state of %s: %w", doing, key, ErrStale)
	}
	return fmt.Errorf("%s the state of %s: %w", doing, key, explain(err))
}
