// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
)

// version is set by the linker for releases.
var version string

// run makes the body of a command that asks the cluster.
func (p *plugin) run(do func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p.started = true
		src, end, err := p.source(cmd.Context())
		if err != nil {
			return err
		}
		defer end()
		return do(cmd, src, p.screen(), args)
	}
}

// completeOutput completes -o.
func completeOutput(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(nodeview.Outputs(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

func (p *plugin) nodes() *cobra.Command {
	var o nodeview.Nodes
	cmd := &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"node"},
		Short:   "Show each node's NAT maps: size, evictions, incidents",
		Long: `Show each node's NAT maps, the worst nodes first.

STATE is breaking if a connection broke in the last ten minutes, evicting if an
entry was evicted, else ok. NOW/S and 10M/S are evictions per second over a minute
and ten minutes; FORCED is the share of these that hit entries in recent use.
INCIDENTS are connections seen reset, and broken without a reset seen, since the
agent started; LOST are events and incidents that it lost.`,
		Example: `  kubectl renat nodes
  kubectl renat nodes --watch
  kubectl renat nodes --fail-on breaking || page-somebody`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, _ []string) error {
			return o.Run(cmd.Context(), src, s)
		}),
	}
	o.Register(cmd.Flags())
	completeOutput(cmd)
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"evicting", "breaking"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

func (p *plugin) incidents() *cobra.Command {
	var o nodeview.Incidents
	cmd := &cobra.Command{
		Use:     "incidents",
		Aliases: []string{"incident"},
		Short:   "List the connections that broke, the newest first",
		Long: `List the connections that broke, the newest first. Filters of different names
must all match; of a filter that is given several times, one must.`,
		Example: `  kubectl renat incidents --since 1h -n shop
  kubectl renat incidents --group-by destination`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, _ []string) error {
			return o.Run(cmd.Context(), src, s)
		}),
	}
	o.Register(cmd.Flags())
	completeOutput(cmd)
	_ = cmd.RegisterFlagCompletionFunc("group-by", cobra.FixedCompletions(nodeview.Groupings(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

func (p *plugin) describe() *cobra.Command {
	var o nodeview.Describe
	cmd := &cobra.Command{
		Use:     "describe ID",
		Short:   "Show one incident with its evidence",
		Example: "  kubectl renat describe 3f2a9c1b77e0",
		Args:    cobra.ExactArgs(1),
		RunE: p.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, args []string) error {
			return o.Run(cmd.Context(), src, s, args[0])
		}),
	}
	o.Register(cmd.Flags())
	completeOutput(cmd)
	return cmd
}

func (p *plugin) advise() *cobra.Command {
	var o nodeview.Advise
	cmd := &cobra.Command{
		Use:   "advise",
		Short: "Recommend a size of the NAT maps",
		Long: `Recommend a size of the NAT maps from what the agents measured and Cilium's
settings, and say how to set it, what it costs, and what it does to connections.
Nothing is changed. docs/sizing.md has the reasons.`,
		Example: `  kubectl renat advise
  kubectl renat advise --explain
  kubectl renat advise -o json | jq .values`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, _ []string) error {
			settings, assumed, err := p.settings(cmd.Context())
			if err != nil {
				return err
			}
			return o.Run(cmd.Context(), src, s, settings, assumed)
		}),
	}
	o.Register(cmd.Flags())
	cmd.Flags().StringVar(&p.ciliumNamespace, "cilium-namespace", "kube-system", "namespace of Cilium's ConfigMap cilium-config")
	cmd.Flags().StringVar(&p.ciliumConfig, "cilium-config", "", "file with that ConfigMap, instead of the cluster's")
	completeOutput(cmd)
	return cmd
}

func (p *plugin) top() *cobra.Command {
	o := nodeview.Top{Names: p.podNames}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show who fills the NAT maps",
		Long: `Show which pods and destinations have the most entries in the NAT maps, and
the most that were evicted since the agents started. Each agent reads its maps
for this, once.`,
		Example: `  kubectl renat top
  kubectl renat top --node-name worker-3`,
		Args: cobra.NoArgs,
		RunE: p.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, _ []string) error {
			return o.Run(cmd.Context(), src, s)
		}),
	}
	o.Register(cmd.Flags())
	completeOutput(cmd)
	return cmd
}

func (p *plugin) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  kubectl renat version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p.started = true
			v := version
			if info, ok := debug.ReadBuildInfo(); ok {
				v = cmp.Or(v, info.Main.Version)
			}
			_, err := fmt.Fprintf(p.out, "kubectl-renat %s %s/%s %s\n", cmp.Or(v, "unknown"), runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}
