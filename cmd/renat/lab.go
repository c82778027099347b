// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/internal/yard/lab"
	"github.com/renat-project/renat/sinks/jetstream"
)

type labFlags struct {
	*globals
	config lab.Config
	guard  guardFlags
	check  bool
	output string
}

func newLab(g *globals) *cobra.Command {
	l := &labFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Break connections on this machine and check what renat says",
		Long: `Break connections on this machine the way Cilium's NAT map does, and check what
renat says of them: pods, a node and a server in network namespaces, a SNAT
datapath with a small LRU map, real TCP connections, and the real agent beside
them. Incidents are printed as they are stored in NATS; at the end a table says
per class of connections how many broke by their clients' own account, and how
many of these were named by exactly one incident, with the right kind, cause and
ports.

Nothing of the machine is touched, a running Cilium included, and nothing is
left behind, even by a crash. It needs root and a kernel that renat agent runs
on, with the modules veth, sch_ingress and cls_bpf. In the source tree, make lab
runs it in a virtual machine where that is missing.

With --kind connections break in another way than by lost NAT entries: a changed
address, too few ports, lost tracking entries, a replaced map; with --kind timeout
nobody resets them, with --kind host they are the node's own.

The exit code is 1 when a broken connection was missed or an incident is wrong.
With --guard the agent keeps living connections' entries meanwhile: of the classes
that lose theirs by eviction none breaks, as long as what lives fits into the
guard's share of the map.

With --hubble-late Hubble is behind as it is on a busy node: each CPU's flows by another
time. With --agent-after connections lose their entries before the agent starts; what
breaks from then on it must name.

See docs/lab.md for the classes and for figures.`,
		Example: `  sudo renat lab
  sudo renat lab --restore both --duration 5m
  sudo renat lab --map-size 4096 --connections 500 --churn 400
  sudo renat lab --connections 30 --guard
  sudo renat lab --hubble-late 2s
  sudo renat lab --agent-after 30s
  sudo renat lab --kind egress_changed
  sudo renat lab --kind host --connections 20 --guard --guard-host
  sudo renat lab --ipv6 -o json | jq .total
  sudo renat lab --record recording/ && renat replay recording/`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
	f, c := cmd.Flags(), &l.config
	f.StringVar((*string)(&c.Kind), "kind", "", "make incidents of this kind, with this outcome, or of the node's own (host): "+strings.Join(lab.Kinds(), ", ")+" (default: renat and orphaned_reply)")
	f.StringVar(&c.Restore, "restore", "none", "what the datapath rebuilds of a half mapping: none, reply (as Cilium since 1.18), both")
	f.IntVar(&c.MapSize, "map-size", 0, "entries of the NAT map, two a connection (default: 512, for some kinds 4096)")
	f.IntVar(&c.Connections, "connections", 0, "long-lived connections at a time (default: 60, for some kinds another)")
	f.IntVar(&c.Churn, "churn", 60, "short connections per second")
	f.DurationVar(&c.Duration, "duration", time.Minute, "how long there is traffic")
	f.BoolVar(&c.IPv6, "ipv6", false, "use IPv6 instead of IPv4")
	f.DurationVar(&c.HubbleLate, "hubble-late", 0, "have Hubble show and stamp flows later, those of the last CPU by so much")
	f.DurationVar(&c.AgentAfter, "agent-after", 0, "start the agent so long after the traffic")
	f.Uint64Var(&c.Seed, "seed", 0, "draw how long connections are silent from this number")
	l.guard.register(f)
	f.StringVar(&c.Record, "record", "", "write a recording of the run, with what the clients saw, to this folder")
	f.StringVar(&c.StateDir, "state-dir", "", "keep the incidents in this folder; without it they are removed")
	f.StringVarP(&l.output, "output", "o", "table", "output format: table, json (without the incidents)")
	usage.Complete(cmd, "output", "table", "json")
	usage.Complete(cmd, "kind", lab.Kinds()...)
	usage.Complete(cmd, "restore", "none", "reply", "both")
	f.BoolVar(&l.check, "check", false, "only find out whether this machine can run it")
	return cmd
}

// errNotRight makes a lab whose score is not perfect fail.
var errNotRight = errors.New("some broken connections were missed, or named wrongly")

func (l *labFlags) run(ctx context.Context) error {
	if l.output != "table" && l.output != "json" {
		return usage.Errorf("output format %q is not one of table, json", l.output)
	}
	guard, err := l.guard.config()
	if err != nil {
		return usage.Errorf("%w", err)
	}
	l.config.Guard = guard
	l.config.Version, l.config.Log = buildVersion(), l.log()
	if l.output == "table" {
		l.showIncidents()
	}
	run, err := lab.New(l.config)
	if err != nil {
		return usage.Errorf("%w", err)
	}
	if l.check {
		return run.Check(ctx)
	}
	result, err := run.Run(ctx)
	if err != nil {
		return err
	}
	if l.output == "json" {
		encoder := json.NewEncoder(l.out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(result)
	} else {
		fmt.Fprintln(l.out)
		err = result.Write(l.out)
	}
	if err == nil && !result.Right() {
		err = errNotRight
	}
	return err
}

// showIncidents has incidents printed as renat observe prints them.
func (l *labFlags) showIncidents() {
	out := render.New(l.out, render.Compact, l.colored(l.out), time.Local)
	l.config.Ready = func(url string) {
		fmt.Fprintf(l.err, "%v of traffic; incidents as they are stored, as by: renat observe --follow --nats-url %s\n", l.config.Duration, url)
	}
	l.config.Incident = func(s jetstream.Stored) error { return out.Write(s.Incident) }
}
