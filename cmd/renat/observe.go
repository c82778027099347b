// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/sinks/jetstream"
)

// defaultNATS is where an agent's embedded server listens.
const defaultNATS = "nats://127.0.0.1:4222"

var observeFormats = []render.Format{render.Compact, render.Dict, render.Table, render.JSON, render.JSONPB}

func joined(formats []render.Format) string {
	var names []string
	for _, f := range formats {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// errEnough ends reading when --first has been shown.
var errEnough = errors.New("enough")

type observeFlags struct {
	*globals
	nats   natsFlags
	output string
	follow bool
	first  int
	last   int
	flows  bool
	filter filterFlags
}

func newObserve(g *globals) *cobra.Command {
	o := &observeFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "observe",
		Short: "Show incidents from NATS",
		Long: `Show the incidents that are stored in NATS JetStream, in the order in which
they were stored. Filters of different names must all match; of a filter that is
given several times, one must. What a filter after --not matches is left out.`,
		Example: `  renat observe --last 20
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
	o.nats.register(f, defaultNATS)
	f.StringVarP(&o.output, "output", "o", string(render.Compact), "output format: "+joined(observeFormats))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(strings.Split(joined(observeFormats), ", "), cobra.ShellCompDirectiveNoFileComp)) // it was just registered
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with incidents as they happen; without --since and --last only those")
	o.filter.register(cmd)
	o.suggest(cmd)
	f.IntVar(&o.first, "first", 0, "only the first so many that match; 0: all")
	f.IntVar(&o.last, "last", 0, "only the last so many that match; 0: all")
	f.BoolVar(&o.flows, "flows", false, "draw each incident's timeline, with -o compact")
	cmd.MarkFlagsMutuallyExclusive("first", "last")
	cmd.MarkFlagsMutuallyExclusive("first", "follow")
	return cmd
}

func (o *observeFlags) run(ctx context.Context) error {
	format, err := render.ParseFormat(o.output, observeFormats...)
	if err != nil {
		return usageError{err}
	}
	if o.flows && format != render.Compact {
		return usageError{errors.New("--flows draws with -o compact only; -o dict has the timeline in words")}
	}
	options, err := o.options(time.Now())
	if err != nil {
		return usageError{err}
	}
	log := o.log()
	options.Log = log
	options.OnGarbled = func(sequence uint64, subject string, err error) {
		log.Warn().Uint64("sequence", sequence).Str("subject", subject).Err(err).Msg("skipping a message that is no incident")
	}
	nc, err := o.nats.connect(ctx, o.nats.stateDir, log)
	if errors.Is(err, jetstream.ErrUnreachable) {
		return fmt.Errorf("%w\nname the server with --nats-url, or the store of a replay with --state-dir", err)
	}
	if err != nil {
		return err
	}
	defer nc.Close()
	out := render.New(o.out, format, o.colored(o.out), time.Local)
	out.Drawings = o.flows
	shown := 0
	err = jetstream.Read(ctx, nc.Conn, options, func(s jetstream.Stored) error {
		if err := out.Write(s.Incident); err != nil {
			return err
		}
		if shown++; shown == o.first {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case o.follow && errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return nil // the way to end it
	case errors.Is(err, jetstream.ErrNoStream):
		return fmt.Errorf("%w\npublish with renat replay into the same server or store first", err)
	}
	return err
}

// options checks the filters.
func (o *observeFlags) options(now time.Time) (jetstream.ReadOptions, error) {
	chosen, err := o.filter.parse(now)
	opts := jetstream.ReadOptions{
		Follow: o.follow, Last: o.last, Since: chosen.Since, Kinds: chosen.Kinds, Match: chosen.Match,
		NewOnly: o.follow && chosen.Since.IsZero() && o.last == 0,
	}
	if o.last < 0 || o.first < 0 {
		return opts, fmt.Errorf("--last %d or --first %d is negative", o.last, o.first)
	}
	return opts, err
}
