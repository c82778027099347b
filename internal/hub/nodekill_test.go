// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/sinks/jetstream"
)

// childServer has the natsNode that the test starts itself as.
const childServer = "RENAT_TEST_NATS_NODE"

// natsNode is a server of a cluster, a process of its own.
type natsNode struct {
	Name, Dir    string
	Client, Peer int // ports
	Routes       []string

	process *exec.Cmd
}

// serve is the server, until it is killed.
func serve(raw string) {
	var n natsNode
	if err := json.Unmarshal([]byte(raw), &n); err != nil {
		panic(err)
	}
	o := &natsserver.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, JetStream: true, StoreDir: n.Dir, NoSigs: true, NoLog: true,
		Cluster: natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: n.Peer},
	}
	for _, r := range n.Routes {
		u, err := url.Parse(r)
		if err != nil {
			panic(err)
		}
		o.Routes = append(o.Routes, u)
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		panic(err)
	}
	s.Start()
	s.WaitForShutdown()
}

func (n *natsNode) start(t *testing.T) {
	t.Helper()
	settings, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	n.process = exec.Command(os.Args[0])
	n.process.Env, n.process.Stderr = append(os.Environ(), childServer+"="+string(settings)), os.Stderr
	if err := n.process.Start(); err != nil {
		t.Fatal(err)
	}
}

func (n *natsNode) kill(t *testing.T) {
	t.Helper()
	if err := n.process.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = n.process.Wait() // says that it was killed
}

// suspend stops the server for d: to the others it is as good as cut off.
func (n *natsNode) suspend(t *testing.T, d time.Duration) {
	t.Helper()
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := n.process.Process.Signal(s); err != nil {
			t.Error(err)
		}
		if s == syscall.SIGSTOP {
			time.Sleep(d)
		}
	}
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startNodes starts a cluster of three.
func startNodes(t *testing.T) (nodes []*natsNode, urls string) {
	t.Helper()
	var routes, clients []string
	for n := range 3 {
		node := &natsNode{Name: fmt.Sprint("n", n), Dir: t.TempDir(), Client: freePort(t), Peer: freePort(t)}
		nodes = append(nodes, node)
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", node.Peer))
		clients = append(clients, fmt.Sprintf("nats://127.0.0.1:%d", node.Client))
	}
	for _, node := range nodes {
		node.Routes = routes
		node.start(t)
		t.Cleanup(func() { node.kill(t) })
	}
	return nodes, strings.Join(clients, ",")
}

// nodeKills is how often TestNodeKills does what it says.
var nodeKills = flag.Int("nodekills", 3, "how many servers of a NATS cluster of three TestNodeKills kills or, one of four, suspends")

// The servers of a cluster of three are killed, or suspended, one after the
// other, as incidents keep coming and two hubs share the work.
func TestNodeKills(t *testing.T) {
	const groups = 5
	t.Parallel()
	nodes, urls := startNodes(t)
	nc := connect(t, urls)
	js := jetStream(t, nc)
	r := newReceiver(t)
	for _, holder := range []string{"a", "b"} {
		runHub(t, copying(connect(t, urls), holder), r.yaml("ops"))
	}
	eventually(t, 2*time.Minute, "three copies of everything", func() bool { return inStep(t, js) })
	load, stopLoad := context.WithCancel(t.Context())
	published := make(chan []int, 1)
	go func() { published <- persist(load, t, nc, groups) }()
	leaders, slowest := 0, time.Duration(0)
	for n := range *nodeKills {
		before := r.count()
		eventually(t, 2*time.Minute, fmt.Sprintf("a delivery after %d faults", n), func() bool { return r.count() > before })
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		node := nodes[rand.IntN(len(nodes))]
		if leads(t, js, node.Name) {
			leaders++
		}
		began := time.Now()
		if n%4 == 3 {
			node.suspend(t, time.Duration(1000+rand.IntN(9000))*time.Millisecond)
		} else {
			node.kill(t)
			time.Sleep(time.Duration(rand.IntN(8000)) * time.Millisecond)
			node.start(t)
		}
		eventually(t, 5*time.Minute, fmt.Sprintf("three copies of everything after fault %d", n), func() bool { return inStep(t, js) })
		slowest = max(slowest, time.Since(began))
	}
	stopLoad()
	counts, total := <-published, 0
	for _, n := range counts {
		total += n
	}
	t.Logf("%d incidents, %d faults, %d of them of the server that led the stream; everything had three copies again after %s at most",
		total, *nodeKills, leaders, slowest.Round(time.Millisecond))
	complete(t, total, "incidents to be delivered", func() int { return min(r.count(), total) })
	eventually(t, 2*time.Minute, "everything to be acknowledged", func() bool { return unacknowledged(t, nc, "ops") == 0 })
	r.check(t, "ops", counts)
}

// inStep reports whether every stream has a leader and two more copies that are
// up to date.
func inStep(t *testing.T, js natsjs.JetStream) bool {
	for _, name := range everything {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		s, err := js.Stream(ctx, name)
		cancel()
		if err != nil {
			return false
		}
		c := s.CachedInfo().Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != 2 {
			return false
		}
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				return false
			}
		}
	}
	return true
}

// leads reports whether the server leads the stream of incidents.
func leads(t *testing.T, js natsjs.JetStream, server string) bool {
	s, err := js.Stream(t.Context(), jetstream.Stream)
	return err == nil && s.CachedInfo().Cluster.Leader == server
}

// persist publishes incidents of each group in order until ctx ends, each until
// it is stored, and returns how many of each.
func persist(ctx context.Context, t *testing.T, nc *nats.Conn, groups int) []int {
	p, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{Stream: jetstream.StreamConfig{Replicas: 3}})
	if err != nil {
		t.Error(err)
		return nil
	}
	defer p.Close()
	counts := make([]int, groups)
	for n := 0; ctx.Err() == nil; n++ {
		i := sample(n%groups, counts[n%groups])
		for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			if _, err = p.Send(t.Context(), i); err == nil {
				break
			}
			if time.Since(began) > 5*time.Minute {
				t.Error(err)
				return counts
			}
		}
		counts[n%groups]++
		time.Sleep(10 * time.Millisecond)
	}
	return counts
}
