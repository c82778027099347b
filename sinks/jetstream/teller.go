// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// tellWait is how long NATS may take for one status.
const tellWait = 5 * time.Second

// Teller puts statuses into the bucket of Nodes, which it opens when it has to: at
// first, and when somebody removed it. It is for one goroutine.
type Teller struct {
	nc       *nats.Conn
	replicas int
	nodes    *Nodes
}

// NewTeller returns one that creates the bucket, if it is missing, with so many
// copies; 0: 1. It does no I/O.
func NewTeller(nc *nats.Conn, replicas int) *Teller { return &Teller{nc: nc, replicas: replicas} }

// Put stores a node's status, as Nodes.Put does, within five seconds.
func (t *Teller) Put(ctx context.Context, cluster, node string, status any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tellWait)
	defer cancel()
	if t.nodes == nil {
		if t.nodes, err = OpenNodes(ctx, t.nc, t.replicas); err != nil {
			t.nodes = nil
			return err
		}
	}
	err = t.nodes.Put(ctx, cluster, node, status)
	// A server that is too busy to answer gets one request the next time, not
	// two: thousands of nodes that open the bucket again keep it busy.
	if err != nil && !errors.Is(err, ErrSameNode) && ctx.Err() == nil {
		t.nodes = nil
	}
	return err
}
