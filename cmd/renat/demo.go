// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/sinks/jetstream"
)

// demo shows a recording as if it ended now: what broke, and the node it is
// of, which goes on telling how it is.
type demo struct {
	log       zerolog.Logger
	node      *recordedNode
	incidents []*incident.Incident
}

// demoStatusEvery is how often the node tells; agents do so, too.
const demoStatusEvery = 10 * time.Second

// newDemo derives the incidents of a recording.
func newDemo(ctx context.Context, dir string, log zerolog.Logger) (*demo, error) {
	rec, err := recording.Open(dir)
	if err != nil {
		return nil, err
	}
	d := &demo{log: log, node: newRecordedNode(rec.Meta)}
	c, err := correlator.New(correlator.Config{
		Node: rec.Meta.NodeName, Cluster: rec.Meta.ClusterName, Settle: replaySettle, MaxConnections: replayConnections,
	}, func(i *incident.Incident) { d.incidents = append(d.incidents, i) })
	if err != nil {
		return nil, err
	}
	bad := badLines(log, replayBadLines)
	err = merge(ctx, func(ev *correlator.Event) {
		d.node.see(ev)
		c.Observe(ev)
	}, rec.NAT(bad), &recordedFlows{rec: rec, bad: bad, log: log})
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	c.Flush()
	return d, nil
}

// publish moves what was recorded to end now, and stores it.
func (d *demo) publish(ctx context.Context, nc *natsLink, now time.Time) error {
	by := d.node.moveTo(now)
	publisher, err := jetstream.NewPublisher(nc.Conn, jetstream.PublisherConfig{})
	if err != nil {
		return err
	}
	defer publisher.Close()
	for _, i := range d.incidents {
		moveIncident(i, by)
		d.node.broke(i)
		if err := publisher.Publish(ctx, i); err != nil {
			return err
		}
	}
	return nc.explain(publisher.Flush(ctx))
}

// moveIncident makes it one of another time, which is another incident.
func moveIncident(i *incident.Incident, by time.Duration) {
	times := []*time.Time{&i.Time, &i.NAT.RemovedAt, &i.NAT.RenattedAt}
	if i.Ports != nil {
		times = append(times, &i.Ports.Since)
	}
	for _, t := range times {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
	for n := range i.Evidence {
		i.Evidence[n].Time = i.Evidence[n].Time.Add(by)
	}
	i.ID = i.NewID(uint64(i.Time.UnixNano())) //nolint:gosec // long after 1970
}

// tell stores the node's status again and again, until ctx ends.
func (d *demo) tell(ctx context.Context, nc *natsLink) {
	teller := jetstream.NewTeller(nc.Conn, 1)
	for ticks := time.NewTicker(demoStatusEvery); ; {
		s := d.node.status(time.Now())
		if err := teller.Put(ctx, s.Cluster, s.Node, s); err != nil && ctx.Err() == nil {
			d.log.Warn().Err(err).Msg("the demo's node is not shown")
		}
		select {
		case <-ctx.Done():
			ticks.Stop()
			return
		case <-ticks.C:
		}
	}
}

// announce says what there is to see, and where.
func (d *demo) announce(w io.Writer, dir, page, nats string) {
	fmt.Fprintf(w, "%d connections that broke in %s, as if it were now.\n\n  the page     %s\n  beside it    renat observe --nats-url %s\n\nCtrl-C ends it.\n",
		len(d.incidents), dir, page, nats)
}
