// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub"
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
	runHub(t, copying(connect(t, urls), "a"), r.yaml("ops"))
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

// copying configures a hub that keeps three copies.
func copying(nc *nats.Conn, holder string) hub.Config {
	return hub.Config{NATS: nc, Holder: holder, Replicas: 3, Lease: 4 * time.Second, Log: zerolog.Nop()}
}

// What was stored with one copy is told of, and gets more when they are asked for.
func TestCopies(t *testing.T) {
	t.Parallel()
	_, urls := startCluster(t)
	nc := connect(t, urls)
	js := jetStream(t, nc)
	r := newReceiver(t)
	run := func(replicas int, until func(log string) bool) {
		t.Helper()
		var log logged
		_, stop := runHub(t, hub.Config{NATS: nc, Holder: "a", Replicas: replicas, Lease: 4 * time.Second, Log: zerolog.New(&log)}, r.yaml("ops"))
		eventually(t, 60*time.Second, "the hub to do it", func() bool { return until(log.String()) })
		stop()
	}
	all := func() bool {
		for _, stream := range everything {
			if _, err := js.Stream(t.Context(), stream); err != nil {
				return false
			}
		}
		return true
	}
	run(0, func(string) bool { return all() }) // makes them
	run(0, func(log string) bool {
		return strings.Count(log, "NATS is a cluster, and keeps one copy of stream") == len(everything)
	})
	run(3, func(log string) bool { return strings.Count(log, "NATS keeps more copies now") == len(everything) })
	for _, stream := range everything {
		s, err := js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().Config.Replicas; n != 3 {
			t.Errorf("%s has %d copies", stream, n)
		}
	}
}
