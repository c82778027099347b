// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	leaseBucket = "RENAT_HUB_LEASE"
	leaseKey    = "active"

	// leaseTTL is how long after its last renewal a lease is another's to
	// take. leaseMargin before that its holder regards it as lost.
	leaseTTL    = 8 * time.Second
	leaseMargin = time.Second
	leaseRenew  = 2 * time.Second
	// leaseTry is how often those who have it not try.
	leaseTry = time.Second
)

// ErrLeaseLost is the cause of a lease's context when it could not be renewed.
var ErrLeaseLost = errors.New("lost the lease")

// Lease is the right of one process among many to do something, until its
// context ends.
type Lease struct {
	kv       natsjs.KeyValue
	revision uint64
	ctx      context.Context
	cancel   context.CancelCauseFunc
	ended    chan struct{}
}

// AcquireLease waits until the lease is free and takes it for holder, a name
// for people. waiting, if not nil, is called with the present holder's name
// whenever another one holds it. The server expires the lease of a process
// that dies after leaseTTL.
func AcquireLease(ctx context.Context, nc *nats.Conn, holder string, replicas int, waiting func(holder string)) (*Lease, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	// On disk: after a restart, a server must know what it leased before.
	kv, err := bucket(ctx, js, natsjs.KeyValueConfig{
		Bucket: leaseBucket, Description: "Which renat hub is active", TTL: leaseTTL, Replicas: max(replicas, 1),
	})
	if err != nil {
		return nil, err
	}
	for {
		began := time.Now()
		attempt, cancel := context.WithTimeout(ctx, leaseRenew)
		revision, err := kv.Create(attempt, leaseKey, []byte(holder))
		cancel()
		if err == nil {
			l := &Lease{kv: kv, revision: revision, ended: make(chan struct{})}
			l.ctx, l.cancel = context.WithCancelCause(ctx)
			go l.renew(holder, began)
			return l, nil
		}
		if errors.Is(err, natsjs.ErrKeyExists) && waiting != nil {
			if e, err := kv.Get(ctx, leaseKey); err == nil {
				waiting(string(e.Value()))
			}
		}
		if err := sleep(ctx, leaseTry); err != nil {
			return nil, err
		}
	}
}

// Context ends when the lease does; the cause is ErrLeaseLost, or that of the
// context it was acquired with.
func (l *Lease) Context() context.Context { return l.ctx }

func (l *Lease) renew(holder string, last time.Time) {
	defer close(l.ended)
	defer l.cancel(ErrLeaseLost)
	lost := time.NewTimer(time.Until(last.Add(leaseTTL - leaseMargin)))
	defer lost.Stop()
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-lost.C:
			return
		case <-tick.C:
		}
		began := time.Now()
		attempt, cancel := context.WithDeadline(l.ctx, last.Add(leaseTTL-leaseMargin))
		revision, err := l.kv.Update(attempt, leaseKey, []byte(holder), l.revision)
		cancel()
		switch {
		case err == nil:
			l.revision, last = revision, began
			lost.Reset(time.Until(last.Add(leaseTTL - leaseMargin)))
		case isConflict(err):
			// It is another's, or the answer to our last renewal got lost.
			e, err := l.kv.Get(l.ctx, leaseKey)
			if err != nil || string(e.Value()) != holder {
				return
			}
			l.revision = e.Revision()
		}
	}
}

// Release gives the lease back, so that another process need not wait for it
// to expire.
func (l *Lease) Release(ctx context.Context) error {
	l.cancel(context.Canceled)
	<-l.ended
	if err := l.kv.Delete(ctx, leaseKey, natsjs.LastRevision(l.revision)); err != nil {
		return fmt.Errorf("releasing the lease: %w", explain(err))
	}
	return nil
}

// bucket opens a bucket or creates it; one that exists keeps its settings.
func bucket(ctx context.Context, js natsjs.JetStream, c natsjs.KeyValueConfig) (natsjs.KeyValue, error) {
	kv, err := js.KeyValue(ctx, c.Bucket)
	if errors.Is(err, natsjs.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, c)
		if errors.Is(err, natsjs.ErrBucketExists) || errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) {
			kv, err = js.KeyValue(ctx, c.Bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the key-value bucket %s: %w", c.Bucket, explain(err))
	}
	return kv, nil
}
