// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"context"
	"testing"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

func TestNodes(t *testing.T) {
	s := startServer(t, embedded.Config{})
	nc := connect(t, jetstream.Config{InProcess: s})
	nodes, err := jetstream.OpenNodes(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node-b.example", "node a"} {
		if err := nodes.Put(t.Context(), &nodestatus.Status{Version: nodestatus.Version, Node: name, Cluster: "prod süd"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := nodes.Put(t.Context(), &nodestatus.Status{Version: 99, Node: "newer", Cluster: "x"}); err != nil {
		t.Fatal(err)
	}
	all, err := nodes.List(t.Context())
	if len(all) != 2 || all[0].Node != "node a" || all[1].Node != "node-b.example" || all[1].Cluster != "prod süd" {
		t.Errorf("got %+v", all)
	}
	if err == nil {
		t.Error("a status of a later version was not reported")
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := make(chan jetstream.NodeEvent, 10)
	go func() {
		_ = nodes.Watch(ctx, func(e jetstream.NodeEvent) error { changes <- e; return nil }) // ctx's error
	}()
	for range 4 { // three nodes and the mark
		<-changes
	}
	if err := nodes.Put(t.Context(), &nodestatus.Status{Version: nodestatus.Version, Node: "late"}); err != nil {
		t.Fatal(err)
	}
	if e := <-changes; e.Node != "late" || e.Status == nil {
		t.Errorf("got %+v", e)
	}
}
