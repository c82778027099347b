// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

func TestNodes(t *testing.T) {
	s := startServer(t, embedded.Config{})
	nc := connect(t, jetstream.Config{InProcess: s})
	if none, err := jetstream.ReadNodes(t.Context(), nc); err != nil || len(none) != 0 {
		t.Errorf("without a bucket: %+v, %v", none, err)
	}
	nodes, err := jetstream.OpenNodes(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node-b.example", "node a"} {
		if err := nodes.Put(t.Context(), "prod süd", name, map[string]string{"node": name}); err != nil {
			t.Fatal(err)
		}
	}
	if read, err := jetstream.ReadNodes(t.Context(), nc); err != nil || len(read) != 2 {
		t.Errorf("read %+v, %v", read, err)
	}
	all, err := nodes.List(t.Context())
	if err != nil || len(all) != 2 || all[0].Node != "node a" || all[1].Node != "node-b.example" || all[1].Cluster != "prod süd" ||
		string(all[1].Status) != `{"node":"node-b.example"}` {
		t.Errorf("got %+v, %v", all, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := make(chan jetstream.NodeEvent, 10)
	go func() {
		_ = nodes.Watch(ctx, func(e jetstream.NodeEvent) error { changes <- e; return nil }) // ctx's error
	}()
	for range 3 { // two nodes and the mark
		<-changes
	}
	if err := nodes.Put(t.Context(), "", "late", struct{}{}); err != nil {
		t.Fatal(err)
	}
	if e := <-changes; e.Node != "late" || e.Status == nil {
		t.Errorf("got %+v", e)
	}
}

// Agents that tell of a node of the same names learn of each other, as long as
// both do; what expired, or was removed, is no other agent's.
func TestNodesOfOneName(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	open := func() *jetstream.Nodes {
		n, err := jetstream.OpenNodes(t.Context(), nc, 1)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a, b := open(), open()
	for step, at := range []struct {
		nodes *jetstream.Nodes
		same  bool
	}{{a, false}, {a, false}, {b, false}, {a, false}, {b, false}, {a, true}, {b, true}, {b, false}, {a, true}, {a, false}} {
		if err := at.nodes.Put(t.Context(), "default", "node", step); errors.Is(err, jetstream.ErrSameNode) != at.same {
			t.Errorf("step %d: %v", step, err)
		}
		if all, err := a.List(t.Context()); err != nil || len(all) != 1 || string(all[0].Status) != strconv.Itoa(step) {
			t.Errorf("step %d: stored %+v, %v", step, all, err)
		}
	}
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), jetstream.NodesBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), "default.node"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.Put(t.Context(), "default", "node", "again"); err != nil {
			t.Error(err)
		}
	}
}

// Who watches learns that the bucket was removed, also when there is another
// one already, whose sequences begin again.
func TestNodesRemoved(t *testing.T) {
	t.Parallel()
	nc := embed(t)
	nodes, err := jetstream.OpenNodes(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := nodes.Put(t.Context(), "c", "node", n); err != nil {
			t.Fatal(err)
		}
	}
	listed, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- nodes.Watch(t.Context(), func(e jetstream.NodeEvent) error {
			if e.Node == "" {
				close(listed)
			}
			return nil
		})
	}()
	<-listed
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), jetstream.NodesBucket); err != nil {
		t.Fatal(err)
	}
	if _, err := jetstream.OpenNodes(t.Context(), nc, 1); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(60 * time.Second):
		t.Error("it goes on watching what is not there")
	}
}

// A Teller opens the bucket once, not again because an answer was late, but when
// the bucket was removed.
func TestTeller(t *testing.T) {
	s := startServer(t, embedded.Config{})
	nc := connect(t, jetstream.Config{InProcess: s})
	asked, err := nc.SubscribeSync("$JS.API.STREAM.INFO.>")
	if err != nil {
		t.Fatal(err)
	}
	opened := func() (n int) {
		t.Helper()
		if err := nc.Flush(); err != nil { // what was asked before has been seen then
			t.Fatal(err)
		}
		for {
			if _, err := asked.NextMsg(10 * time.Millisecond); err != nil {
				return n
			}
			n++
		}
	}
	teller := jetstream.NewTeller(nc, 0)
	put := func() error { return teller.Put(t.Context(), "prod", "node-a", struct{}{}) }
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if opened() == 0 {
		t.Fatal("nobody sees who opens the bucket")
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if err := teller.Put(late, "prod", "node-a", struct{}{}); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	if err := put(); err != nil {
		t.Error(err)
	}
	if n := opened(); n > 0 {
		t.Errorf("opened it %d times again", n)
	}
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), jetstream.NodesBucket); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a bucket made anew", func() bool { return put() == nil })
	if all, err := jetstream.ReadNodes(t.Context(), nc); err != nil || len(all) != 1 {
		t.Errorf("read %+v, %v", all, err)
	}
}
