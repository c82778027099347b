// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/jetstream"
)

// How recordings are replayed, if nothing else is asked for.
const (
	replayBadLines    = 100
	replaySettle      = 3 * time.Second
	replayConnections = 1 << 18
)

type replayFlags struct {
	*globals
	nats     natsFlags
	output   string
	times    string
	badLines int
	settle   time.Duration
	conns    int
	cluster  string
}

func newReplay(g *globals) *cobra.Command {
	r := &replayFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "replay DIR",
		Short: "Derive the incidents of a recording",
		Long: `Derive the incidents of a recording: of its flows those are read that an agent
asks Hubble for, and all map operations, so that what is found is what an agent
would have found. The incidents are published to
NATS JetStream and printed.

Without --nats-url and --state-dir they are published to a server inside this
process whose store is removed at the end. A recording may be replayed into the
same NATS any number of times: each incident is stored once.

The flows may be compressed or not, and so may the map operations: see
docs/recordings.md for the format.`,
		Example: `  renat replay recording/
  renat replay recording/ -o json | jq .data.source.pod
  renat replay recording/ --nats-url nats://nats.example:4222
  renat replay recording/ --state-dir store/ && renat observe --state-dir store/`,
		Args: usage.One("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	r.nats.register(cmd, "")
	registerOutput(cmd, &r.output, &r.times)
	f.IntVar(&r.badLines, "max-bad-lines", replayBadLines, "how many unreadable lines to skip before giving up")
	f.DurationVar(&r.settle, "settle", replaySettle, "how long after a connection lost its mapping an RST is waited for")
	f.IntVar(&r.conns, "max-connections", replayConnections, "how many connections to remember")
	f.StringVar(&r.cluster, "cluster-name", "", "cluster to name in the incidents, when the recording does not say")
	return cmd
}

func (r *replayFlags) run(ctx context.Context, dir string) error {
	format, err := render.ParseFormat(r.output)
	if err = errors.Join(err, render.CheckTimeFormat(r.times)); err != nil {
		return usage.Errorf("%w", err)
	}
	rec, err := recording.Open(dir)
	if err != nil {
		return err
	}
	store, cleanUp, err := r.store()
	if err != nil {
		return err
	}
	defer cleanUp()
	nc, err := r.nats.connect(ctx, store, r.log())
	if err != nil {
		return err
	}
	defer nc.Close()
	publisher, err := jetstream.NewPublisher(nc.Conn, jetstream.PublisherConfig{SkipStored: true})
	if err != nil {
		return err
	}
	defer publisher.Close()

	p := &replay{
		replayFlags: r, rec: rec, started: time.Now(), bad: badLines(r.log(), r.badLines),
		out: render.New(r.out, format, r.colored(r.out), time.Local), publisher: publisher, link: nc,
	}
	p.out.TimeFormat = r.times
	err = p.replay(ctx)
	var wrong usage.Error
	if format == render.Compact && !errors.As(err, &wrong) {
		p.summarise()
	}
	return err
}

// store returns the folder for an embedded server, "" when --nats-url is given.
func (r *replayFlags) store() (dir string, cleanUp func(), err error) {
	if r.nats.URL != "" || r.nats.stateDir != "" {
		return r.nats.stateDir, func() {}, nil
	}
	return temporaryStore("replay")
}

// temporaryStore makes a folder for a server of this process.
func temporaryStore(of string) (dir string, cleanUp func(), err error) {
	if dir, err = os.MkdirTemp("", "renat-"+of+"-"); err != nil {
		return "", nil, fmt.Errorf("making a store for the %s: %w (or name a folder with --state-dir)", of, err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// flushWait is how long JetStream may take to confirm the last incidents.
const flushWait = time.Minute

// replay is one run of the command.
type replay struct {
	*replayFlags
	rec       *recording.Recording
	started   time.Time
	bad       *recording.BadLines
	out       *render.Writer
	publisher *jetstream.Publisher
	link      *natsLink
	tally     tally
	stats     correlator.Stats
}

// replay sends the recording's events through the correlator and what comes of
// them to JetStream and the output.
func (r *replay) replay(ctx context.Context) error {
	var unpublished, unwritten error
	cfg := correlator.Config{
		Node: r.rec.Meta.NodeName, Cluster: r.cluster, Settle: r.settle, MaxConnections: r.conns,
	}
	if r.rec.Meta.ClusterName != "" {
		cfg.Cluster = r.rec.Meta.ClusterName
	}
	c, err := correlator.New(cfg, func(i *incident.Incident) {
		r.tally.add(i)
		if unpublished == nil {
			unpublished = r.publisher.Publish(ctx, i)
		}
		if unwritten == nil {
			unwritten = r.out.Write(i)
		}
	})
	if err != nil {
		return usage.Errorf("%w", err)
	}
	stopProgress := r.showProgress()
	flows := &recordedFlows{rec: r.rec, bad: r.bad, log: r.log()}
	err = merge(ctx, c.Observe, r.rec.NAT(r.bad), flows)
	stopProgress()
	if ctx.Err() == nil {
		c.Advance(flows.until) // other nodes' flows show that the node had time to show more
		c.Flush()
	} else {
		err = ctx.Err() // what was printed is still stored
	}
	r.stats = c.Stats()
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
	defer cancel()
	return errors.Join(err, r.link.explain(errors.Join(unpublished, r.publisher.Flush(flushing))), unwritten, r.out.Flush())
}
