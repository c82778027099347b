// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/sinks/jetstream"
)

// An agent that may do what docs/nats-users.conf allows it is ready, sends its
// incidents and its status, and hears of no violation.
func TestAgentAsUserOfNATS(t *testing.T) {
	for _, u := range []string{"AGENT", "HUB", "READER"} {
		t.Setenv("RENAT_"+u+"_PASSWORD", "secret")
	}
	opts, err := natsserver.ProcessConfigFile("../../docs/nats-users.conf")
	if err != nil {
		t.Fatal(err)
	}
	opts.JetStream, opts.NoSigs, opts.NoLog, opts.StoreDir = true, true, true, t.TempDir()
	opts.Host, opts.Port = "127.0.0.1", natsserver.RANDOM_PORT
	server, err := natsserver.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	as := func(user string) string { return strings.Replace(server.ClientURL(), "://", "://"+user+":secret@", 1) }

	hub := connect(t, as("hub"))
	publisher, err := jetstream.NewPublisher(hub, jetstream.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	if err := publisher.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes, err := jetstream.OpenNodes(t.Context(), hub, 1)
	if err != nil {
		t.Fatal(err)
	}

	var log bytes.Buffer
	n := startNode(t, func(c *agent.Config) {
		c.Cluster, c.NATS = "production", jetstream.Config{URL: as("agent")}
		c.Log = zerolog.New(zerolog.SyncWriter(&log))
	})
	n.awaitReady()
	n.breakAll(t.Context(), 0, 3)
	n.awaitForwarded(3)
	wantOnce(t, as("reader"), 3)
	eventually(t, "its status is in NATS", func() bool {
		all, err := nodes.List(t.Context())
		return err == nil && len(all) == 1 && all[0].Cluster == "production"
	})
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(strings.ToLower(log.String()), "violation") {
		t.Errorf("violations:\n%s", log.String())
	}
}
