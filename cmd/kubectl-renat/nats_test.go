// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// TestNATS reads what two agents told NATS, without an API server.
func TestNATS(t *testing.T) {
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	conn, err := jetstream.Connect(t.Context(), jetstream.Config{URL: server.ClientURL(), Wait: 5 * time.Second, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	renat := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), &out, &errs, append(args, "--nats-url", server.ClientURL(), "--kubeconfig", "/nonexistent"))
		return code, out.String(), errs.String()
	}
	if code, out, errs := renat("incidents"); code != usage.Done || out != "" || errs != "No resources found\n" {
		t.Errorf("nothing yet: exit %d, %s%s", code, out, errs)
	}
	nodes, err := jetstream.OpenNodes(t.Context(), conn, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*nodestatus.Status){"node-a": evicting, "node-b": breaking} {
		s := status(name)
		change(s)
		if err := nodes.Put(t.Context(), s.Cluster, s.Node, s); err != nil {
			t.Fatal(err)
		}
	}
	publisher, err := jetstream.NewPublisher(conn, jetstream.PublisherConfig{MaxPending: 16})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := publisher.Publish(t.Context(), found("node-b", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := publisher.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := renat("nodes", "-o", "name", "--fail-on", "breaking"); code != usage.Found || out != "node/node-b\n" {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	id := found("node-b", 2).ID
	if code, out, errs := renat("incidents", "--limit", "1", "-o", "name"); code != usage.Done || out != "incident/"+id+"\n" {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	if code, out, errs := renat("describe", id[:12]); code != usage.Done || !strings.Contains(out, "OUT entry evicted") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	if code, _, errs := renat("describe", strings.Repeat("0", 32)); code != usage.Failed || !strings.Contains(errs, "NATS has not stored it") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if code, _, errs := renat("at-risk"); code != usage.Wrong || !strings.Contains(errs, "only agents know") {
		t.Errorf("at-risk: exit code %d, %s", code, errs)
	}
	if code, _, errs := renat("top"); code != usage.Wrong || !strings.Contains(errs, "only agents know") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
