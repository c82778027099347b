// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/render"
	"github.com/renat-project/renat/sinks/jetstream"
)

// defaultNATS is where an agent's embedded server listens.
const defaultNATS = "nats://127.0.0.1:4222"

type observeFlags struct {
	*globals
	nats   natsFlags
	output string
	follow bool
	last   int
	filter filterFlags
}

func newObserve(g *globals) *cobra.Command {
	o := &observeFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "observe",
		Short: "Show incidents from NATS",
		Long: `Show the incidents that are stored in NATS JetStream, in the order in which
they were stored. Filters of different names must all match; of a filter that is
given several times, one must.`,
		Example: `  renat observe --last 20
  renat observe --follow --namespace shop
  renat observe --since 1h --kind renat -o dict
  renat observe --pod shop/cart --ip 192.0.2.0/24 -o json
  renat observe --workload Deployment/cart --destination api.example.com:443
  renat observe --state-dir store/`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	f := cmd.Flags()
	o.nats.register(f, defaultNATS)
	f.StringVarP(&o.output, "output", "o", string(render.Compact), "output format: compact, dict, json")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with incidents as they happen; without --since and --last only those")
	o.filter.register(f)
	f.IntVar(&o.last, "last", 0, "only the last so many that match; 0: all")
	return cmd
}

func (o *observeFlags) run(ctx context.Context) error {
	format, err := render.ParseFormat(o.output, render.Compact, render.Dict, render.JSON)
	if err != nil {
		return usageError{err}
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
	err = jetstream.Read(ctx, nc.Conn, options, func(s jetstream.Stored) error { return out.Write(s.Incident) })
	switch {
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
	if o.last < 0 {
		return opts, fmt.Errorf("--last %d is negative", o.last)
	}
	return opts, err
}
