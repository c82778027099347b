// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
)

const (
	// NodesBucket is the key-value bucket with one status a node.
	NodesBucket = "renat_nodes"
	// nodesTTL is after how long without a status a node is gone; six of those
	// that agents send.
	nodesTTL = time.Minute
	// nodesMarker is how long watchers can learn that a node is gone.
	nodesMarker = time.Hour
)

// Nodes is the key-value bucket with the status of every node. It is safe for
// concurrent use.
type Nodes struct{ kv natsjs.KeyValue }

// OpenNodes opens the bucket, or creates it.
func OpenNodes(ctx context.Context, nc *nats.Conn, replicas int) (*Nodes, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	kv, err := bucket(ctx, js, natsjs.KeyValueConfig{
		Bucket: NodesBucket, Description: "How the nodes that renat watches are doing",
		TTL: nodesTTL, LimitMarkerTTL: nodesMarker, Replicas: max(replicas, 1),
	})
	if err != nil {
		return nil, err
	}
	return &Nodes{kv}, nil
}

// nodeKey is "<cluster>.<node>", both encoded.
func nodeKey(cluster, node string) string {
	return incident.EncodeToken(cluster) + "." + incident.EncodeToken(node)
}

// Put stores a node's status; it expires a minute later.
func (n *Nodes) Put(ctx context.Context, s *nodestatus.Status) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding the status of node %s: %w", s.Node, err)
	}
	if _, err := n.kv.Put(ctx, nodeKey(s.Cluster, s.Node), raw); err != nil {
		return fmt.Errorf("storing the status of node %s: %w", s.Node, explain(err))
	}
	return nil
}

// NodeEvent is a change of a node's status.
type NodeEvent struct {
	Cluster, Node string
	Status        *nodestatus.Status // nil: the node is gone
	Err           error              // the status cannot be read
}

// Watch calls each for every status there is, then once with the zero
// NodeEvent, then for every change, until ctx ends or each returns an error.
func (n *Nodes) Watch(ctx context.Context, each func(NodeEvent) error) error {
	w, err := n.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watching the nodes: %w", explain(err))
	}
	defer w.Stop() //nolint:errcheck // the connection is gone then, and the watch with it
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("watching the nodes: the connection was closed")
			}
			if err := each(nodeEvent(e)); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func nodeEvent(e natsjs.KeyValueEntry) NodeEvent {
	if e == nil {
		return NodeEvent{} // all that is stored has come
	}
	var ev NodeEvent
	cluster, node, _ := strings.Cut(e.Key(), ".")
	if ev.Cluster, ev.Err = incident.DecodeToken(cluster); ev.Err == nil {
		ev.Node, ev.Err = incident.DecodeToken(node)
	}
	if e.Operation() != natsjs.KeyValuePut || ev.Err != nil {
		return ev
	}
	s := &nodestatus.Status{}
	switch err := json.Unmarshal(e.Value(), s); {
	case err != nil:
		ev.Err = fmt.Errorf("reading the status of node %s: %w", ev.Node, err)
	case s.Version != nodestatus.Version:
		ev.Err = fmt.Errorf("reading the status of node %s: it has version %d, this renat knows %d", ev.Node, s.Version, nodestatus.Version)
	default:
		ev.Status = s
	}
	return ev
}

// errListed ends a Watch when all that is stored has come.
var errListed = errors.New("listed")

// List returns all nodes' statuses by cluster and name, and what could not be
// read.
func (n *Nodes) List(ctx context.Context) ([]*nodestatus.Status, error) {
	var all []*nodestatus.Status
	var unread []error
	err := n.Watch(ctx, func(e NodeEvent) error {
		switch {
		case e == NodeEvent{}:
			return errListed
		case e.Err != nil:
			unread = append(unread, e.Err)
		case e.Status != nil:
			all = append(all, e.Status)
		}
		return nil
	})
	if !errors.Is(err, errListed) {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *nodestatus.Status) int {
		return strings.Compare(a.Cluster+"\x00"+a.Node, b.Cluster+"\x00"+b.Node)
	})
	return all, errors.Join(unread...)
}
