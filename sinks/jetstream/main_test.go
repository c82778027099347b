// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

var epoch = time.Date(2024, 11, 22, 22, 49, 56, 0, time.UTC)

// sample returns the n-th of any number of different incidents, one a second.
func sample(n int) *incident.Incident {
	at := epoch.Add(time.Duration(n) * time.Second)
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset,
		Time: at, Node: "node-a.example", Cluster: "prod süd 東", Protocol: "TCP",
		Source:      incident.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Port: 40000, Namespace: "shop", Pod: "cart-1"},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443},
		NAT:         incident.NAT{Map: "cilium_snat_v4_external", Before: "198.51.100.1:40000", After: "198.51.100.1:51111", RenattedAt: at},
		Map:         incident.Map{MaxEntries: 512},
	}
	for e := range 8 {
		i.Evidence = append(i.Evidence, incident.Evidence{
			Time: at.Add(time.Duration(e) * time.Millisecond), From: incident.Kernel, What: "evict OUT 10.0.0.1:40000 -> 192.0.2.1:443",
		})
	}
	i.ID = i.NewID(uint64(n))
	return i
}

func startServer(t testing.TB, c embedded.Config) *embedded.Server {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	c.Log = zerolog.Nop()
	s, err := embedded.Start(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// startNATS starts a plain nats-server with any options.
func startNATS(t testing.TB, opts *natsserver.Options) *natsserver.Server {
	t.Helper()
	opts.NoSigs, opts.NoLog, opts.StoreDir = true, true, t.TempDir()
	opts.Host, opts.Port = "127.0.0.1", natsserver.RANDOM_PORT
	s, err := natsserver.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func connect(t testing.TB, c jetstream.Config) *nats.Conn {
	t.Helper()
	c.Wait, c.Log = 10*time.Second, zerolog.Nop()
	nc, err := jetstream.Connect(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// embed returns a connection to a new embedded server.
func embed(t testing.TB) *nats.Conn {
	t.Helper()
	return connect(t, jetstream.Config{InProcess: startServer(t, embedded.Config{})})
}

func newPublisher(t testing.TB, nc *nats.Conn, c jetstream.PublisherConfig) *jetstream.Publisher {
	t.Helper()
	p, err := jetstream.NewPublisher(nc, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// send stores the samples from to to, to excluded, and returns how many were duplicates.
func send(t testing.TB, p *jetstream.Publisher, from, to int) (duplicates int) {
	t.Helper()
	for n := from; n < to; n++ {
		duplicate, err := p.Send(t.Context(), sample(n))
		if err != nil {
			t.Fatal(err)
		}
		if duplicate {
			duplicates++
		}
	}
	return duplicates
}

// read returns the seconds after epoch of what o yields.
func read(t testing.TB, nc *nats.Conn, o jetstream.ReadOptions) []int {
	t.Helper()
	var got []int
	err := jetstream.Read(t.Context(), nc, o, func(s jetstream.Stored) error {
		got = append(got, number(s))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func number(s jetstream.Stored) int { return int(s.Incident.Time.Sub(epoch) / time.Second) }

func wantNumbers(t testing.TB, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got incidents %v, want %v", got, want)
	}
}

// span returns from, from+1, … to-1.
func span(from, to int) []int {
	var s []int
	for n := from; n < to; n++ {
		s = append(s, n)
	}
	return s
}

func stream(t testing.TB, nc *nats.Conn) natsjs.Stream {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// messages is how many messages the stream holds.
func messages(t testing.TB, nc *nats.Conn) int {
	t.Helper()
	return int(stream(t, nc).CachedInfo().State.Msgs)
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually waits for ok, which takes at most seconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// clientStacks counts the goroutines of the NATS client and of this package.
func clientStacks() int {
	buf := make([]byte, 4<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if !strings.Contains(stack, "testing.tRunner") &&
			(strings.Contains(stack, "nats.go@") || strings.Contains(stack, "renat/sinks/jetstream.")) {
			n++
		}
	}
	return n
}
