// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/render"
	"github.com/renat-project/renat/sinks/jetstream"
)

// defaultNATS is where an agent's embedded server listens.
const defaultNATS = "nats://127.0.0.1:4222"

type observeFlags struct {
	*globals
	nats                    natsFlags
	output                  string
	follow                  bool
	since                   string
	last                    int
	kinds, namespaces, pods []string
	ips                     []string
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
  renat observe --state-dir store/`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	f := cmd.Flags()
	o.nats.register(f, defaultNATS)
	f.StringVarP(&o.output, "output", "o", string(render.Compact), "output format: compact, dict, json")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with incidents as they happen; without --since and --last only those")
	f.StringVar(&o.since, "since", "", "only incidents since this time (RFC 3339) or so long ago (e.g. 5m)")
	f.IntVar(&o.last, "last", 0, "only the last so many that match; 0: all")
	f.StringSliceVar(&o.kinds, "kind", nil, "only incidents of this kind: renat, orphaned_reply")
	f.StringSliceVarP(&o.namespaces, "namespace", "n", nil, "only pods of this namespace")
	f.StringSliceVar(&o.pods, "pod", nil, "only pods whose name begins so: [namespace/]pod")
	f.StringSliceVar(&o.ips, "ip", nil, "only with this address or network on either side, before or after translation")
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
	opts := jetstream.ReadOptions{Follow: o.follow, Last: o.last, NewOnly: o.follow && o.since == "" && o.last == 0}
	if o.last < 0 {
		return opts, fmt.Errorf("--last %d is negative", o.last)
	}
	for _, k := range o.kinds {
		kind := incident.Kind(k)
		if kind != incident.Renat && kind != incident.OrphanedReply {
			return opts, fmt.Errorf("--kind %q is not one of renat, orphaned_reply", k)
		}
		opts.Kinds = append(opts.Kinds, kind)
	}
	var err error
	if opts.Since, err = parseSince(o.since, now); err != nil {
		return opts, err
	}
	networks, err := parseNetworks(o.ips)
	if err != nil {
		return opts, err
	}
	opts.Match = func(i *incident.Incident) bool {
		return (len(o.namespaces) == 0 || slices.Contains(o.namespaces, i.Source.Namespace)) &&
			matchesPod(i, o.pods) && matchesIP(i, networks)
	}
	return opts, nil
}

// parseSince reads a time or how long ago it is; "" is the zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d.Abs()), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("--since %q is neither a time like 2026-01-02T15:04:05Z nor a duration like 5m", s)
	}
	return t, nil
}

// parseNetworks reads addresses, in brackets or not, and networks.
func parseNetworks(list []string) (networks []netip.Prefix, err error) {
	for _, s := range list {
		bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
		if addr, err := netip.ParseAddr(bare); err == nil {
			networks = append(networks, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--ip %q is neither an address nor a network", s)
		}
		networks = append(networks, p)
	}
	return networks, nil
}

func matchesPod(i *incident.Incident, pods []string) bool {
	return len(pods) == 0 || slices.ContainsFunc(pods, func(want string) bool {
		if namespace, pod, ok := strings.Cut(want, "/"); ok {
			return i.Source.Namespace == namespace && strings.HasPrefix(i.Source.Pod, pod)
		}
		return strings.HasPrefix(i.Source.Pod, want)
	})
}

func matchesIP(i *incident.Incident, networks []netip.Prefix) bool {
	if len(networks) == 0 {
		return true
	}
	addrs := []netip.Addr{i.Source.IP, i.Destination.IP}
	for _, s := range []string{i.NAT.Before, i.NAT.After} {
		if ap, err := netip.ParseAddrPort(s); err == nil {
			addrs = append(addrs, ap.Addr())
		}
	}
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool {
		return slices.ContainsFunc(addrs, p.Contains)
	})
}
