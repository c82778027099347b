// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"cmp"
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

	// DefaultLease is how long after its last renewal a lease is another's to
	// take.
	DefaultLease = 8 * time.Second
)

// LeaseConfig is what AcquireLease needs.
type LeaseConfig struct {
	// Holder names the process: unique, and for people.
	Holder string
	// TTL is after how long without a renewal the server gives the lease to
	// another; 0: DefaultLease. Where a lease exists, the TTL is the one it has.
	TTL time.Duration
	// Replicas in a NATS cluster; 0: 1.
	Replicas int
	// Waiting, if not nil, is called with the present holder's name whenever
	// that one is seen to have renewed the lease: this process could take it then.
	Waiting func(holder string)
}

// ErrLeaseLost is the cause of a lease's context when it could not be renewed.
var ErrLeaseLost = errors.New("lost the lease")

// Lease is the right of one process among many to do something, until its
// context ends.
type Lease struct {
	kv       natsjs.KeyValue
	ttl      time.Duration
	holder   string
	revision uint64
	ctx      context.Context
	cancel   context.CancelCauseFunc
	ended    chan struct{}
}

// AcquireLease waits until the lease is free and takes it. The server expires
// the lease of a process that dies. The error says what keeps it from reading
// or taking the lease, such as that somebody removed the bucket: the next call
// makes it anew; or that a lease is neither renewed nor expires, as on a server
// whose disk was full.
func AcquireLease(ctx context.Context, nc *nats.Conn, c LeaseConfig) (*Lease, error) {
	// On disk: after a restart, a server must know what it leased before.
	kv, err := bucket(ctx, open(nc), natsjs.KeyValueConfig{
		Bucket: leaseBucket, Description: "Which renat hub is active", TTL: cmp.Or(c.TTL, DefaultLease), Replicas: max(c.Replicas, 1),
	})
	if err != nil {
		return nil, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the settings of the lease: %w", explain(err))
	}
	l := &Lease{kv: kv, ttl: status.TTL(), holder: c.Holder, ended: make(chan struct{})}
	var held rival
	for answered := time.Now(); ; {
		began := time.Now()
		attempt, cancel := context.WithTimeout(ctx, l.ttl/4)
		l.revision, err = kv.Create(attempt, leaseKey, []byte(c.Holder))
		cancel()
		if err == nil {
			l.ctx, l.cancel = context.WithCancelCause(ctx)
			go l.renew(began)
			return l, nil
		}
		switch {
		case isConflict(err):
			answered = time.Now()
			if err := c.wait(ctx, l, &held); err != nil {
				return nil, err
			}
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded) || time.Since(answered) > l.ttl:
			return nil, fmt.Errorf("taking the lease: %w", explain(err))
		}
		if err := sleep(ctx, l.ttl/8); err != nil {
			return nil, err
		}
	}
}

// rival is another's lease as it was seen, and since when it is as it is.
type rival struct {
	revision uint64 // 0: none was seen
	since    time.Time
}

// wait tells who has the lease that l is waiting for.
func (c *LeaseConfig) wait(ctx context.Context, l *Lease, held *rival) error {
	e, err := l.kv.Get(ctx, leaseKey)
	switch {
	case errors.Is(err, natsjs.ErrKeyNotFound): // it has just expired
	case err != nil:
		return fmt.Errorf("reading the lease: %w", explain(err))
	case e.Revision() != held.revision:
		if held.revision != 0 && c.Waiting != nil {
			c.Waiting(string(e.Value()))
		}
		*held = rival{e.Revision(), time.Now()}
	case time.Since(held.since) > 2*l.ttl:
		return fmt.Errorf("the lease of %s is neither renewed nor expires: see that the NATS server's disk has free space, then restart the server", e.Value())
	}
	return nil
}

// Context ends when the lease does; the cause is ErrLeaseLost, or that of the
// context it was acquired with.
func (l *Lease) Context() context.Context { return l.ctx }

// renew keeps the lease. An eighth of its time before the server does, counted
// from before the last renewal was asked for, it regards it as lost.
func (l *Lease) renew(last time.Time) {
	defer close(l.ended)
	defer l.cancel(ErrLeaseLost)
	lost := time.NewTimer(time.Until(l.until(last)))
	defer lost.Stop()
	tick := time.NewTicker(l.ttl / 4)
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
		attempt, cancel := context.WithDeadline(l.ctx, l.until(last))
		revision, err := l.kv.Update(attempt, leaseKey, []byte(l.holder), l.revision)
		cancel()
		switch {
		case err == nil:
			l.revision, last = revision, began
			lost.Reset(time.Until(l.until(last)))
		case isConflict(err):
			// It is another's, or the answer to our last renewal got lost.
			e, err := l.kv.Get(l.ctx, leaseKey)
			if err != nil || string(e.Value()) != l.holder {
				return
			}
			l.revision = e.Revision()
		case isGone(err):
			// Who stands by makes the bucket anew, and is active then.
			if _, err := l.kv.Status(l.ctx); errors.Is(err, natsjs.ErrStreamNotFound) {
				return
			}
		}
	}
}

func (l *Lease) until(last time.Time) time.Time { return last.Add(l.ttl - l.ttl/8) }

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
		kv, err = created(ctx, func() (natsjs.KeyValue, error) { return js.CreateKeyValue(ctx, c) })
		if errors.Is(err, natsjs.ErrBucketExists) || errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) {
			kv, err = js.KeyValue(ctx, c.Bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the key-value bucket %s: %w", c.Bucket, explain(err))
	}
	return kv, nil
}
