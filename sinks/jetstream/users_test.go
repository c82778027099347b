// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
)

// usersFile is the example that docs/security.md explains.
const usersFile = "../../docs/nats-users.conf"

// connector connects as a user of the example, logging to log.
type connector func(user, inbox string, log io.Writer) *nats.Conn

// exampleUsers reads the example; the password of agent is "of-agent".
func exampleUsers(t *testing.T) *natsserver.Options {
	t.Helper()
	for _, u := range []string{"AGENT", "HUB", "READER"} {
		t.Setenv("RENAT_"+u+"_PASSWORD", "of-"+strings.ToLower(u))
	}
	opts, err := natsserver.ProcessConfigFile(usersFile)
	if err != nil {
		t.Fatal(err)
	}
	opts.JetStream = true
	return opts
}

// byPassword runs the example as it is.
func byPassword(t *testing.T) connector {
	t.Helper()
	s := startNATS(t, exampleUsers(t))
	return func(user, inbox string, log io.Writer) *nats.Conn {
		at, err := url.Parse(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		at.User = url.UserPassword(user, "of-"+user)
		return connectLogging(t, jetstream.Config{URL: at.String(), Inbox: inbox}, log)
	}
}

func connectLogging(t *testing.T, c jetstream.Config, log io.Writer) *nats.Conn {
	t.Helper()
	c.Wait, c.Log = 10*time.Second, zerolog.New(log)
	nc, err := jetstream.Connect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

const agentInbox = "_INBOX.production.node-a"

func produced(n int) *incident.Incident {
	i := sample(n)
	i.Cluster, i.Node = "production", "node-a"
	i.ID = i.NewID(uint64(n))
	return i
}

// Each user of the example may do what its program does, and is told of no
// violation meanwhile.
func TestUsersOfNATS(t *testing.T) {
	t.Run("passwords", func(t *testing.T) { usersWork(t, byPassword(t)) })
	t.Run("credentials", func(t *testing.T) { usersWork(t, byCredentials(t)) })
}

func usersWork(t *testing.T, connectAs connector) {
	t.Helper()
	var log bytes.Buffer
	logged := zerolog.SyncWriter(&log)
	hub, agent, reader := connectAs("hub", "", logged), connectAs("agent", agentInbox, logged), connectAs("reader", "", logged)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("the hub makes the stream", newPublisher(t, hub, jetstream.PublisherConfig{}).Ensure(t.Context()))
	_, err := jetstream.OpenNodes(t.Context(), hub, 1)
	must("the hub makes the bucket", err)

	for n, c := range []jetstream.PublisherConfig{{}, {SkipStored: true}} {
		_, err := newPublisher(t, agent, c).Send(t.Context(), produced(n))
		must("the agent publishes", err)
	}
	if duplicate, err := newPublisher(t, agent, jetstream.PublisherConfig{SkipStored: true}).Send(t.Context(), produced(0)); err != nil || !duplicate {
		t.Errorf("an incident that is stored: %v, %v", duplicate, err)
	}
	nodes, err := jetstream.OpenNodes(t.Context(), agent, 1)
	must("the agent opens the bucket", err)
	must("the agent tells its status", nodes.Put(t.Context(), "production", "node-a", struct{}{}))

	wantNumbers(t, read(t, reader, jetstream.ReadOptions{}), 0, 1)
	wantNumbers(t, read(t, reader, jetstream.ReadOptions{Last: 1, Kinds: []incident.Kind{incident.Renat, incident.OrphanedReply}}), 1)
	seen, err := jetstream.OpenNodes(t.Context(), reader, 1)
	must("the reader opens the bucket", err)
	if all, err := seen.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("the reader lists %d nodes: %v", len(all), err)
	}
	hubUses(t, hub)
	time.Sleep(50 * time.Millisecond) // the server tells of violations later
	if strings.Contains(strings.ToLower(log.String()), "violation") {
		t.Errorf("violations:\n%s", log.String())
	}
}

// hubUses does what a hub does.
func hubUses(t *testing.T, nc *nats.Conn) {
	t.Helper()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("the hub's %s: %v", what, err)
		}
	}
	lease, err := jetstream.AcquireLease(t.Context(), nc, jetstream.LeaseConfig{Holder: "a"})
	must("lease", err)
	waiting, give := context.WithTimeout(t.Context(), 10*time.Second)
	holder := ""
	_, err = jetstream.AcquireLease(waiting, nc, jetstream.LeaseConfig{Holder: "b", Waiting: func(h string) { holder = h; give() }})
	if holder != "a" {
		t.Errorf("a waiting hub sees holder %q: %v", holder, err)
	}
	if holder, err := jetstream.LeaseHolder(t.Context(), nc); err != nil || holder != "a" {
		t.Errorf("the lease is %q's: %v", holder, err)
	}
	must("release", lease.Release(t.Context()))
	if holder, err := jetstream.LeaseHolder(t.Context(), nc); err != nil || holder != "" {
		t.Errorf("a lease that was released is %q's: %v", holder, err)
	}
	consumer, err := jetstream.OpenConsumer(t.Context(), nc, jetstream.ConsumerConfig{Name: "renat-hub-ops", Since: epoch, MaxPending: 10})
	must("consumer", err)
	if n, err := jetstream.Backlog(t.Context(), nc, "renat-hub-ops"); err != nil || n != 2 {
		t.Errorf("%d wait for the consumer: %v", n, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	acked := 0
	_ = consumer.Run(ctx, func(d jetstream.Delivery) error { // it ends with ctx
		if d.Mark == jetstream.Message {
			must("acknowledgement", consumer.Ack(ctx, []string{d.Ack}))
			if acked++; acked == 2 {
				stop()
			}
		}
		return nil
	})
	if acked != 2 {
		t.Errorf("the hub acknowledged %d of 2", acked)
	}
	wantNumbers(t, read(t, nc, jetstream.ReadOptions{}), 0, 1)
	_, err = jetstream.Get(t.Context(), nc, 1)
	must("look at an incident", err)
	states, err := jetstream.OpenStates(t.Context(), nc, 1)
	must("states", err)
	revision, err := states.Put(t.Context(), "ops", "key", []byte("value"), 0)
	must("state", err)
	if _, err := states.Put(t.Context(), "ops", "key", []byte("value"), 0); !errors.Is(err, jetstream.ErrStale) {
		t.Errorf("a state that is there already: %v", err)
	}
	_, err = states.Load(t.Context(), "ops")
	must("load", err)
	must("delete", states.Delete(t.Context(), "ops", "key", revision))
	dead, err := jetstream.OpenDeadLetters(t.Context(), nc, 1)
	must("dead letters", err)
	// All are there, and the server, which is alone, refuses.
	copies, err := jetstream.Replicate(t.Context(), nc, 3)
	must("copies", err)
	if len(copies) != 5 {
		t.Errorf("%d streams are there: %+v", len(copies), copies)
	}
	for _, c := range copies {
		if c.Few == nil || c.Raised || !strings.Contains(c.Few.Error(), "replicas > 1 not supported in non-clustered mode") {
			t.Errorf("%+v", c)
		}
	}
	must("letter", dead.Put(t.Context(), "ops", "id", []byte("{}")))
	must("redelivery", dead.Each(t.Context(), func(l jetstream.Letter) error { return dead.Remove(t.Context(), l.Sequence) }))
	nodes, err := jetstream.OpenNodes(t.Context(), nc, 1)
	must("nodes", err)
	if all, err := nodes.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("the hub lists %d nodes: %v", len(all), err)
	}
	stores, err := jetstream.Stores(t.Context(), nc)
	if err != nil || len(stores) != 5 || stores[0].Name != jetstream.Stream || stores[0].Messages != 2 || stores[0].Replicas != 1 || len(stores[0].Away) != 0 {
		t.Errorf("the hub sees %+v: %v", stores, err)
	}
}

// What the example denies is refused by the server.
func TestUsersOfNATSAreRefused(t *testing.T) {
	t.Run("passwords", func(t *testing.T) { usersAreRefused(t, byPassword(t)) })
	t.Run("credentials", func(t *testing.T) { usersAreRefused(t, byCredentials(t)) })
}

func usersAreRefused(t *testing.T, connectAs connector) {
	t.Helper()
	hub, agent := connectAs("hub", "", io.Discard), connectAs("agent", agentInbox, io.Discard)
	early, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := newPublisher(t, agent, jetstream.PublisherConfig{}).Send(early, produced(0)); err == nil || !strings.Contains(err.Error(), "lets this user use stream RENAT_INCIDENTS") {
		t.Errorf("an agent before the hub: %v", err)
	}
	if err := newPublisher(t, hub, jetstream.PublisherConfig{}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := jetstream.OpenConsumer(t.Context(), hub, jetstream.ConsumerConfig{Name: "renat-hub-ops", Since: epoch, MaxPending: 10}); err != nil {
		t.Fatal(err)
	}
	const create, next = "$JS.API.CONSUMER.CREATE.RENAT_INCIDENTS.", "$JS.API.CONSUMER.MSG.NEXT.RENAT_INCIDENTS."
	refused := map[string][]string{
		"agent": {
			"renat.incidents.v1.renat.other.node-a", "$KV.renat_nodes.other.node-a", "renat.dead.v1.ops",
			"renat.incidents.v1.renat.production.node-b", "$KV.renat_nodes.production.node-b",
			create + "x.renat.incidents.v1.renat.production.node-b", create + "x.renat.incidents.v1.*.production.*",
			create + "x", create + "x.renat.incidents.v1.>", create + "x.renat.incidents.v1.renat.other.node-a",
			create + "renat-hub-ops.renat.incidents.v1.renat.production.node-a", next + "renat-hub-ops",
			"$JS.API.STREAM.DELETE.RENAT_INCIDENTS", "$JS.API.STREAM.PURGE.RENAT_INCIDENTS", "$JS.API.STREAM.MSG.GET.RENAT_INCIDENTS",
			"$JS.ACK.RENAT_INCIDENTS.x", "$KV.RENAT_HUB_LEASE.active",
		},
		"reader": {
			"renat.incidents.v1.renat.production.node-a", "$KV.renat_nodes.production.node-a", "renat.dead.v1.ops",
			create + "renat-hub-ops", create + "renat-hub-ops.renat.incidents.v1.>", next + "renat-hub-ops",
			"$JS.API.STREAM.DELETE.RENAT_INCIDENTS", "$JS.API.STREAM.PURGE.RENAT_INCIDENTS", "$JS.ACK.RENAT_INCIDENTS.x",
		},
		"hub": {
			"renat.incidents.v1.renat.production.node-a", "$KV.renat_nodes.production.node-a",
			"$JS.API.STREAM.DELETE.RENAT_INCIDENTS", "$JS.API.STREAM.PURGE.RENAT_INCIDENTS",
		},
	}
	for user, subjects := range refused {
		violations := make(chan error, len(subjects)+1)
		nc := connectAs(user, agentInbox, io.Discard)
		nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err })
		for _, s := range subjects {
			if err := nc.Publish(s, nil); err != nil {
				t.Fatal(err)
			}
		}
		if user == "agent" { // it hears no answers but its own
			if _, err := nc.SubscribeSync("_INBOX.production.>"); err != nil {
				t.Fatal(err)
			}
			subjects = append(subjects, "_INBOX.production.>")
		}
		for _, s := range subjects {
			select {
			case err := <-violations:
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%s: %v, want one for %s", user, err, s)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s may use %s", user, s)
			}
		}
	}
}
