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
type States struct {
	js       natsjs.JetStream
	replicas int
	kv       natsjs.KeyValue
}

// OpenStates opens the store, or creates it.
func OpenStates(ctx context.Context, nc *nats.Conn, replicas int) (*States, error) {
	s := &States{js: open(nc), replicas: replicas}
	var err error
	if s.kv, err = s.open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *States) open(ctx context.Context) (natsjs.KeyValue, error) {
	return bucket(ctx, s.js, natsjs.KeyValueConfig{
		Bucket: stateBucket, Description: "What renat hub has told of which group", TTL: stateTTL, Replicas: max(s.replicas, 1),
	})
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
// not exist, and returns the new one. ErrStale: it has another; ErrTooLarge.
//
// A bucket that was removed is made anew, and a key that is not in it takes the
// value whatever the revision: nobody else has written what it had.
func (s *States) Put(ctx context.Context, owner, key string, value []byte, revision uint64) (uint64, error) {
	name := incident.EncodeToken(owner) + "." + incident.EncodeToken(key)
	next, err := s.kv.Update(ctx, name, value, revision)
	if isGone(err) {
		if _, err = s.open(ctx); err == nil {
			next, err = s.kv.Update(ctx, name, value, revision)
		}
	}
	if isConflict(err) {
		if _, missing := s.kv.Get(ctx, name); errors.Is(missing, natsjs.ErrKeyNotFound) {
			next, err = s.kv.Create(ctx, name, value)
		}
	}
	return next, stateError("writing", key, err)
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
	switch {
	case isConflict(err):
		err = ErrStale
	case isTooLarge(err):
		err = fmt.Errorf("%w: %w", ErrTooLarge, err)
	default:
		err = explain(err)
	}
	return fmt.Errorf("%s the state of %s: %w", doing, key, err)
}
