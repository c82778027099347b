// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

// domain is that of the center's JetStream: without one a leaf node, which uses it by
// default_js_domain, lets no request for JetStream pass.
const domain = "center"

// startLeaf starts a server without JetStream that passes all on to another one.
func startLeaf(t *testing.T, name, address string) *natsserver.Server {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		ServerName: name, Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true,
		JsAccDefaultDomain: map[string]string{natsserver.DEFAULT_GLOBAL_ACCOUNT: domain},
		LeafNode: natsserver.LeafNodeOpts{
			ReconnectInterval: 100 * time.Millisecond,
			Remotes:           []*natsserver.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats-leaf", Host: address}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// startCenter starts the server that the leafs are joined to, again where it was.
func startCenter(t *testing.T, client, leafs int, dir string) *natsserver.Server {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "center", Host: "127.0.0.1", Port: client, JetStream: true, JetStreamDomain: domain, StoreDir: dir, NoSigs: true, NoLog: true,
		LeafNode: natsserver.LeafNodeOpts{Host: "127.0.0.1", Port: leafs},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// runOutbox runs an agent's outbox that sends by way of nc.
func runOutbox(t *testing.T, nc *nats.Conn) *outbox.Outbox {
	t.Helper()
	box, err := outbox.Open(t.Context(), outbox.Config{Dir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = box.Run(ctx, nc) // ctx's error
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		box.Close()
	})
	return box
}

// Agents of two clusters reach the hub by way of a leaf node in each, which has no
// JetStream. What happens while the hub's NATS is away, which the agents do not
// see by their own connections, arrives when it is back, once.
func TestLeafNodes(t *testing.T) {
	t.Parallel()
	client, leafs, dir := freePort(t), freePort(t), t.TempDir()
	center := startCenter(t, client, leafs, dir)
	r := newReceiver(t)
	runHub(t, hub.Config{NATS: connect(t, center.ClientURL()), Holder: "a", Lease: 4 * time.Second, Log: zerolog.Nop()}, r.yaml("ops"))
	var boxes []*outbox.Outbox
	for n := range 2 {
		cluster := fmt.Sprint("cluster-", n)
		nc := connect(t, startLeaf(t, cluster, fmt.Sprintf("127.0.0.1:%d", leafs)).ClientURL())
		boxes = append(boxes, runOutbox(t, nc))
		eventually(t, 30*time.Second, "a status to be stored", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			nodes, err := jetstream.OpenNodes(ctx, nc, 1)
			if err != nil {
				return false
			}
			s := nodestatus.Status{Version: nodestatus.Version, Time: time.Now(), Node: "node-a", Cluster: cluster}
			return nodes.Put(ctx, cluster, "node-a", s) == nil
		})
	}
	add := func(from, to int) {
		for n := from; n < to; n++ {
			for k, box := range boxes {
				i := sample(k, n)
				i.Cluster = fmt.Sprint("cluster-", k)
				box.Add(i)
			}
		}
	}
	add(0, 20)
	eventually(t, 60*time.Second, "the first incidents", func() bool { return r.count() == 40 })
	stored, err := jetstream.ReadNodes(t.Context(), connect(t, center.ClientURL()))
	if err != nil || len(stored) != 2 || stored[0].Cluster != "cluster-0" || stored[1].Cluster != "cluster-1" {
		t.Errorf("the hub's NATS has the statuses %+v, %v", stored, err)
	}

	center.Shutdown()
	center.WaitForShutdown()
	add(20, 40)
	for _, box := range boxes {
		eventually(t, 30*time.Second, "the outbox to say that NATS takes nothing", func() bool { return box.Status().Unsent != nil })
	}
	startCenter(t, client, leafs, dir)
	eventually(t, 90*time.Second, "the incidents of meanwhile", func() bool { return r.count() >= 80 })
	r.check(t, "ops", []int{40, 40})
}
