// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lab_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/yard/lab"
	"github.com/renat-project/renat/sinks/jetstream"
)

// TestPrivilegedAdvisedSize breaks connections in a small map, has the size
// advised from what the agent measured meanwhile, and wants nothing to be
// evicted in a map of that size, with the same traffic.
func TestPrivilegedAdvisedSize(t *testing.T) {
	c := lab.Config{
		// An agent tells how its node is every ten seconds.
		Duration: 13 * time.Second, Connections: 40, Churn: 60,
		Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel),
	}
	var status nodestatus.Status
	start := time.Now()
	small := run(t, c, &status)
	took := time.Since(start)
	if small.Evictions == 0 || broken(small) == 0 {
		t.Fatalf("a map of %d entries: %d evictions, %d connections broken", small.MapSize, small.Evictions, broken(small))
	}
	var nat *nodestatus.Map
	for i := range status.Maps {
		if status.Maps[i].Name == "cilium_snat_v4_external" {
			nat = &status.Maps[i]
		}
	}
	if nat == nil || nat.Evictions == 0 {
		t.Fatalf("the agent told of no evictions: %+v", status.Maps)
	}
	a := sizing.Advise(sizing.Node{
		Name: status.Node, Map: nat.Name, MaxEntries: int(nat.MaxEntries), CPUs: status.Machine.CPUs, Memory: status.Machine.MemoryBytes,
		Incidents: status.Incidents.Total,
		Measured: sizing.Measured{
			Live: float64(2 * c.Connections), Evicting: true,
			Inserts: float64(nat.Inserts) / status.Time.Sub(status.Started).Seconds(),
		},
		// Nobody collects closed connections as long as the laboratory runs.
	}, sizing.Settings{GCInterval: took, FINTimeout: time.Second, AnyTimeout: time.Second})
	t.Logf("%q", a.Steps)
	if a.Verdict != sizing.Grow || a.Entries <= small.MapSize {
		t.Fatalf("%+v", a)
	}
	c.MapSize = a.Entries
	advised := run(t, c, nil)
	if advised.Evictions != 0 || broken(advised) != 0 || !advised.Right() {
		t.Errorf("a map of the advised %d entries: %d evictions, %d connections broken", advised.MapSize, advised.Evictions, broken(advised))
	}
}

// run has a laboratory's connections, and keeps what its agent told last.
func run(t *testing.T, c lab.Config, status *nodestatus.Status) *lab.Result {
	t.Helper()
	var watching sync.WaitGroup
	if status != nil {
		c.Ready = func(url string) { watching.Go(func() { watch(t, url, status) }) }
	}
	l, err := lab.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	watching.Wait()
	if err := r.Write(t.Output()); err != nil {
		t.Error(err)
	}
	return r
}

// watch keeps the newest status until NATS ends.
func watch(t *testing.T, url string, status *nodestatus.Status) {
	conn, err := jetstream.Connect(t.Context(), jetstream.Config{URL: url, Wait: 5 * time.Second, Log: zerolog.Nop()})
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	conn.SetDisconnectErrHandler(func(_ *nats.Conn, _ error) { cancel() })
	defer conn.Close()
	defer cancel()
	nodes, err := jetstream.OpenNodes(ctx, conn, 1)
	if err != nil {
		t.Error(err)
		return
	}
	_ = nodes.Watch(ctx, func(e jetstream.NodeEvent) error { // it ends with NATS
		if s, err := nodestatus.Parse(e.Status); err == nil {
			*status = *s
		}
		return nil
	})
}

// broken counts the connections that broke otherwise than by a delete.
func broken(r *lab.Result) (n int) {
	for _, row := range r.Classes {
		if row.Class != lab.GC && row.Class != lab.GCPush {
			n += row.Broken
		}
	}
	return n
}
