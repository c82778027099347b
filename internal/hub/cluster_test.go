// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/sinks/jetstream"
)

// startCluster starts three servers that know each other.
func startCluster(t *testing.T) (servers []*natsserver.Server, urls string) {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		l.Close()
	}
	var all []string
	for n, port := range ports {
		s, err := natsserver.NewServer(&natsserver.Options{
			ServerName: fmt.Sprint("n", n), Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
			Cluster: natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
	}
	eventually(t, 20*time.Second, "the cluster to have a leader", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == 3
			}
		}
		return false
	})
	for _, s := range servers {
		all = append(all, s.ClientURL())
	}
	return servers, strings.Join(all, ",")
}

// In a cluster of three, the server that the streams' leader is on goes away:
// nothing is lost, nothing is told of twice.
func TestCluster(t *testing.T) {
	t.Parallel()
	servers, urls := startCluster(t)
	nc := connect(t, urls)
	p, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{Stream: jetstream.StreamConfig{Replicas: 3}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t)
	text := "receivers:\n" + r.yaml("ops")
	h, err := hub.New(hub.Config{
		NATS: connect(t, urls), Holder: "a", Replicas: 3, Lease: 4 * time.Second, Log: zerolog.Nop(),
		Load: func() (*config.Config, error) { return config.Parse([]byte(text)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var all []*incident.Incident
	for n := range 300 {
		all = append(all, sample(n%5, n))
	}
	publish(t, nc, all[:150]...)
	eventually(t, 30*time.Second, "the first half", func() bool { return r.count() == 150 })
	gone := -1
	for n, s := range servers {
		if s.JetStreamIsStreamLeader("$G", jetstream.Stream) {
			gone = n
		}
	}
	if gone < 0 {
		t.Fatal("the stream has no leader")
	}
	servers[gone].Shutdown()
	servers[gone].WaitForShutdown()
	began := time.Now()
	for _, i := range all[150:] { // the connection breaks in between
		eventually(t, 10*time.Second, "a server", func() bool { return p.Publish(t.Context(), i) == nil })
	}
	eventually(t, 30*time.Second, "the second half to be stored", func() bool { return p.Flush(t.Context()) == nil })
	eventually(t, 60*time.Second, "the second half", func() bool { return r.count() >= 300 })
	t.Logf("all was notified %s after a server was lost", time.Since(began).Round(time.Millisecond))
	eventually(t, 30*time.Second, "the acknowledgements", func() bool { return unacknowledged(t, nc, "ops") == 0 })
	r.check(t, "ops", []int{60, 60, 60, 60, 60})
}
