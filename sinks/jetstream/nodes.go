// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
)

const (
	// NodesBucket is the key-value bucket with one status a node.
	NodesBucket = "renat_nodes"
	// nodesTTL is after how long without a status a node is gone; six of those
	// that agents send.
	nodesTTL = time.Minute
	// lookEvery is how often a watcher looks whether the bucket is still the one
	// it began with: the client goes on after its old sequence in a new one.
	lookEvery = 5 * time.Second
	// nodesMarker is how long watchers can learn that a node is gone.
	nodesMarker = time.Hour
)

// ErrSameNode says that somebody else, too, puts the status of a node of this
// name in a cluster of this name.
var ErrSameNode = errors.New("another agent tells of a node and cluster of the same names")

// Nodes is the key-value bucket with the status of every node. It is safe for
// concurrent use.
type Nodes struct {
	kv natsjs.KeyValue

	mu  sync.Mutex
	put map[string]written // by key
}

// written is what Put knows of its last write of a key.
type written struct {
	revision uint64
	// overwritten is how often in a row the write before was no longer the
	// newest. Once is no harm: it had expired, or its answer was lost.
	overwritten int
}

// OpenNodes opens the bucket, or creates it.
func OpenNodes(ctx context.Context, nc *nats.Conn, replicas int) (*Nodes, error) {
	kv, err := bucket(ctx, open(nc), natsjs.KeyValueConfig{
		Bucket: NodesBucket, Description: "How the nodes that renat watches are doing",
		TTL: nodesTTL, LimitMarkerTTL: nodesMarker, Replicas: max(replicas, 1),
	})
	if err != nil {
		return nil, err
	}
	return &Nodes{kv: kv, put: map[string]written{}}, nil
}

// ReadNodes returns what is stored of each node, and makes nothing: none where
// there is no bucket.
func ReadNodes(ctx context.Context, nc *nats.Conn) ([]NodeEvent, error) {
	kv, err := open(nc).KeyValue(ctx, NodesBucket)
	if errors.Is(err, natsjs.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", NodesBucket, err)
	}
	return (&Nodes{kv: kv}).List(ctx)
}

// nodeKey is "<cluster>.<node>", both encoded.
func nodeKey(cluster, node string) string {
	return incident.EncodeToken(cluster) + "." + incident.EncodeToken(node)
}

// Put stores a node's status as JSON; it expires a minute later. ErrSameNode
// comes with a status that is stored, when somebody else stored one before this
// and the one before it.
func (n *Nodes) Put(ctx context.Context, cluster, node string, status any) error {
	raw, err := json.Marshal(status)
	if err != nil {
		return fmt.Errorf("encoding the status of node %s: %w", node, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := nodeKey(cluster, node)
	last, known := n.put[key]
	delete(n.put, key)
	if known {
		last.revision, err = n.kv.Update(ctx, key, raw, last.revision)
	}
	switch {
	case !known:
		last.revision, err = n.kv.Put(ctx, key, raw)
	case isConflict(err):
		last.overwritten++
		last.revision, err = n.kv.Put(ctx, key, raw)
	default:
		last.overwritten = 0
	}
	if err != nil {
		return fmt.Errorf("storing the status of node %s: %w", node, explain(err))
	}
	n.put[key] = last
	if last.overwritten > 1 {
		return fmt.Errorf("%w: node %s of cluster %q", ErrSameNode, node, cluster)
	}
	return nil
}

// NodeEvent is a change of a node's status.
type NodeEvent struct {
	Cluster, Node string
	Status        json.RawMessage // what was put; nil: the node is gone
	Err           error           // the key is none of a node
}

// Watch calls each for every status there is, then once with the zero
// NodeEvent, then for every change, until ctx ends, each returns an error, or
// somebody removes the bucket.
func (n *Nodes) Watch(ctx context.Context, each func(NodeEvent) error) error {
	created, err := n.created(ctx)
	if err != nil {
		return fmt.Errorf("watching the nodes: %w", explain(err))
	}
	w, err := n.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watching the nodes: %w", explain(err))
	}
	defer w.Stop() //nolint:errcheck // the connection is gone then, and the watch with it
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("watching the nodes: the connection was closed")
			}
			var ev NodeEvent // zero when all that is stored has come
			if e != nil {
				ev = nodeEvent(e)
			}
			if err := each(ev); err != nil {
				return err
			}
		case <-look.C:
			switch now, err := n.created(ctx); {
			case errors.Is(err, natsjs.ErrStreamNotFound), err == nil && !now.Equal(created):
				return fmt.Errorf("watching the nodes: bucket %s was removed", NodesBucket)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// created returns when the bucket was made.
func (n *Nodes) created(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	status, err := n.kv.Status(ctx)
	if err != nil {
		return time.Time{}, err
	}
	bucket, ok := status.(*natsjs.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, fmt.Errorf("the bucket's status is a %T", status)
	}
	return bucket.StreamInfo().Created, nil
}

func nodeEvent(e natsjs.KeyValueEntry) (ev NodeEvent) {
	cluster, node, _ := strings.Cut(e.Key(), ".")
	if ev.Cluster, ev.Err = incident.DecodeToken(cluster); ev.Err == nil {
		ev.Node, ev.Err = incident.DecodeToken(node)
	}
	if e.Operation() == natsjs.KeyValuePut && ev.Err == nil {
		ev.Status = e.Value()
	}
	return ev
}

// errListed ends a Watch when all that is stored has come.
var errListed = errors.New("listed")

// List returns what is stored of each node, by cluster and name.
func (n *Nodes) List(ctx context.Context) ([]NodeEvent, error) {
	var all []NodeEvent
	err := n.Watch(ctx, func(e NodeEvent) error {
		switch {
		case e.Err != nil, e.Status != nil:
			all = append(all, e)
		case e.Node == "":
			return errListed
		}
		return nil
	})
	if !errors.Is(err, errListed) {
		return nil, err
	}
	slices.SortFunc(all, func(a, b NodeEvent) int {
		return strings.Compare(a.Cluster+"\x00"+a.Node, b.Cluster+"\x00"+b.Node)
	})
	return all, nil
}
