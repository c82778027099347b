// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/jetstream"
)

// defaultNATS is where an agent's embedded server listens.
const defaultNATS = "nats://127.0.0.1:4222"

// defaultLast is how many are shown when nothing else says: as hubble does.
const defaultLast = 20

// errEnough ends reading when --first has been shown.
var errEnough = errors.New("enough")

type observeFlags struct {
	*globals
	nats   natsFlags
	output string
	times  string
	follow bool
	all    bool
	first  int
	last   int
	flows  bool
	filter usage.Filters
}

func newObserve(g *globals) *cobra.Command {
	o := &observeFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "observe",
		Short: "Show incidents from NATS",
		Long: `Show the incidents that are stored in NATS JetStream, by time. Without --since,
--until, --first, --last and --all the last 20 that match are shown. With --follow
they come as they are stored. Filters of different names must all match; of a
filter that is given several times, one must. What a filter after --not matches
is left out.

A time is RFC 3339, a date (2026-11-22), a clock (15:04), both, or how long ago it
is (90s, 5m, 7d). An incident is found by its id, or by how that begins.`,
		Example: `  renat observe
  renat observe --id 142cbfff -o dict
  renat observe --follow --namespace shop
  renat observe --since 1h --kind renat -o dict
  renat observe --pod shop/cart --ip 192.0.2.0/24 -o json
  renat observe --not --namespace kube-system --last 3 --flows
  renat observe --workload Deployment/cart --destination api.example.com:443
  renat observe --state-dir store/`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	f := cmd.Flags()
	o.nats.register(cmd, defaultNATS)
	registerOutput(cmd, &o.output, &o.times)
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with incidents as they happen; without --since and --last only those")
	o.filter.Register(cmd)
	o.filter.RegisterNot(f)
	o.suggest(cmd)
	f.IntVar(&o.first, "first", 0, "only the first so many that match; 0: all")
	f.IntVar(&o.last, "last", 0, "only the last so many that match (20 if nothing else says what to show)")
	f.BoolVar(&o.all, "all", false, "all that match")
	f.BoolVar(&o.flows, "flows", false, "draw each incident's timeline, with -o compact")
	cmd.MarkFlagsMutuallyExclusive("first", "last", "all")
	cmd.MarkFlagsMutuallyExclusive("first", "follow")
	return cmd
}

func (o *observeFlags) run(ctx context.Context) error {
	format, err := o.format()
	if err != nil {
		return usage.Errorf("%w", err)
	}
	options, err := o.options(time.Now())
	if err != nil {
		return usage.Errorf("%w", err)
	}
	log := o.log()
	options.Log = log
	options.OnGarbled = func(sequence uint64, subject string, err error) {
		log.Warn().Uint64("sequence", sequence).Str("subject", subject).Err(err).Msg("skipping a message that is no incident")
	}
	nc, err := o.nats.connectToRead(ctx, log)
	if err != nil {
		return err
	}
	defer nc.Close()
	out := render.New(o.out, format, o.colored(o.out), time.Local)
	out.Drawings, out.TimeFormat = o.flows, o.times
	options.OnStored = func() { out.Live = true }
	shown, err := o.read(ctx, nc, options, out)
	switch {
	case o.follow && errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return nil // the way to end it
	case errors.Is(err, jetstream.ErrNoStream):
		return o.nothingYet(ctx, nc, err)
	case err != nil:
		return err
	}
	o.remark(shown, options.Last)
	return nil
}

// nothingYet tells a node where nothing broke yet, whose agent makes the stream
// with its first incident, from a server where nobody publishes.
func (o *observeFlags) nothingYet(ctx context.Context, nc *natsLink, err error) error {
	nodes, nodesErr := jetstream.ReadNodes(ctx, nc.Conn)
	if nodesErr != nil || len(nodes) == 0 {
		return fmt.Errorf("%w\npublish with renat agent or renat replay into the same server or store first", err)
	}
	fmt.Fprintf(o.err, "No incident yet: %d nodes watch.\n", len(nodes))
	return nil
}

// read shows what there is: by time, unless it is followed.
func (o *observeFlags) read(ctx context.Context, nc *natsLink, options jetstream.ReadOptions, out *render.Writer) (shown int, err error) {
	var found []*incident.Incident
	err = jetstream.Read(ctx, nc.Conn, options, func(s jetstream.Stored) error {
		shown++
		if o.follow {
			return out.Write(s.Incident)
		}
		if found = append(found, s.Incident); shown == o.first {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return shown, err
	}
	slices.SortStableFunc(found, func(a, b *incident.Incident) int { return a.Time.Compare(b.Time) })
	for _, i := range found {
		if err := out.Write(i); err != nil {
			return shown, err
		}
	}
	return shown, out.Flush()
}

// remark says what the output does not: that nothing matched, or that there
// may be more.
func (o *observeFlags) remark(shown, last int) {
	switch {
	case o.follow:
	case shown == 0:
		fmt.Fprintln(o.err, "No incident matches.")
	case shown == last && o.last == 0:
		fmt.Fprintf(o.err, "The last %d that match: --all, --last or --since shows more.\n", last)
	}
}

func (o *observeFlags) format() (render.Format, error) {
	format, err := render.ParseFormat(o.output)
	if err == nil && o.flows && format != render.Compact {
		err = errors.New("--flows draws with -o compact only; -o dict has the timeline in words")
	}
	return format, errors.Join(err, render.CheckTimeFormat(o.times))
}

// options checks the filters.
func (o *observeFlags) options(now time.Time) (jetstream.ReadOptions, error) {
	chosen, err := o.filter.Parse(now)
	opts := jetstream.ReadOptions{
		Follow: o.follow, Last: o.last, Since: chosen.Since, Kinds: chosen.Kinds, Match: chosen.Match,
		NewOnly: o.follow && chosen.Since.IsZero() && o.last == 0 && !o.all,
	}
	switch {
	case o.last < 0:
		return opts, fmt.Errorf("--last %d is negative", o.last)
	case o.first < 0:
		return opts, fmt.Errorf("--first %d is negative", o.first)
	case !o.follow && !o.all && o.last+o.first == 0 && chosen.Since.IsZero() && chosen.Until.IsZero():
		opts.Last = defaultLast
	}
	return opts, err
}

// registerOutput makes the flags of commands that print incidents.
func registerOutput(cmd *cobra.Command, output, times *string) {
	f := cmd.Flags()
	f.StringVarP(output, "output", "o", string(render.Compact), "output format: "+strings.Join(render.FormatNames(), ", "))
	f.StringVar(times, "time-format", render.TimeFormats()[0], "format of times in compact lines and tables: "+strings.Join(render.TimeFormats(), ", "))
	usage.Complete(cmd, "output", render.FormatNames()...)
	usage.Complete(cmd, "time-format", render.TimeFormats()...)
}
