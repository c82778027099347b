// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/usage"
)

// run makes the body of a command that asks the cluster.
func (p *plugin) run(do func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		src, end, err := p.source(cmd.Context())
		if err != nil {
			return err
		}
		defer end()
		return do(cmd, src, p.screen(), args)
	}
}

// show is run for what needs nothing but the source.
func (p *plugin) show(o interface {
	Run(context.Context, fleet.Source, *nodeview.Screen) error
}) func(*cobra.Command, []string) error {
	return p.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, _ []string) error {
		return o.Run(cmd.Context(), src, s)
	})
}

// agentsOnly is for commands that only agents can answer.
func (p *plugin) agentsOnly(*cobra.Command, []string) error {
	if p.nats.URL != "" {
		return fleet.ErrAgentsOnly
	}
	return nil
}

func (p *plugin) status() *cobra.Command {
	var o nodeview.Status
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether agents, NATS and hubs are in order",
		Long: `Show whether renat itself is in order: the agents, by state, version, kernel and
Cilium; NATS and what renat stores there, as the hubs see it; the hubs and whom
they notify. What is not in order is named, and the exit code is 3 then. Nodes
that evict or break are no fault of renat's: kubectl renat nodes has those.`,
		Example: `  kubectl renat status
  kubectl renat status -o json | jq .problems`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.nats.URL != "" {
				return usage.Errorf("--nats-url: status asks agents and hubs; leave it out")
			}
			c, err := p.cluster()
			if err != nil {
				return err
			}
			o.Hubs = p.all(c, &p.hub)
			return o.Run(cmd.Context(), p.all(c, &p.agent), p.screen())
		},
	}
	p.inNamespace(cmd)
	o.Register(cmd)
	return cmd
}

func (p *plugin) nodes() *cobra.Command {
	var o nodeview.Nodes
	cmd := &cobra.Command{
		Use:     "nodes [NODE...]",
		Aliases: []string{"node"},
		Short:   "Show each node's NAT maps: size, evictions, incidents",
		Long: `Show each node's NAT maps, the worst nodes first.

STATE is breaking if a connection broke in the last ten minutes, evicting if an
entry was evicted, else ok; blind where nothing is seen, as on nodes without an
agent, and degraded where an agent lacks a part. NOW/S and 10M/S are evictions per second over a minute
and ten minutes; FORCED is the share of these that hit entries in recent use,
because none of those looked at was idle.
INCIDENTS are connections seen reset, and broken without a reset seen, since the
agent started; LOST are events and incidents that it lost.`,
		Example: `  kubectl renat nodes
  kubectl renat nodes worker-3
  kubectl renat nodes --watch
  kubectl renat nodes --sort-by .incidents.total -o custom-columns=NODE:.node,TOTAL:.incidents.total
  kubectl renat nodes --fail-on breaking || page-somebody`,
		RunE: p.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, args []string) error {
			for _, name := range args {
				o.Only = append(o.Only, strings.TrimPrefix(name, "node/")) // as -o name has it
			}
			return o.Run(cmd.Context(), src, s)
		}),
	}
	p.inNamespace(cmd)
	o.Register(cmd)
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
  kubectl renat incidents -w
  kubectl renat incidents --group-by destination`,
		Args: cobra.NoArgs,
		RunE: p.show(&o),
	}
	o.Register(cmd)
	// All namespaces are what is shown without -n, too: it is for hands that know kubectl.
	cmd.Flags().BoolP("all-namespaces", "A", false, "of all namespaces, as without --namespace")
	cmd.MarkFlagsMutuallyExclusive("all-namespaces", "namespace")
	return cmd
}

func (p *plugin) describe() *cobra.Command {
	var o nodeview.Describe
	cmd := &cobra.Command{
		Use:     "describe ID",
		Short:   "Show one incident with its evidence",
		Example: "  kubectl renat describe 3f2a9c1b77e0",
		Args:    usage.One("ID"),
		RunE: p.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen, args []string) error {
			return o.Run(cmd.Context(), src, s, args[0])
		}),
	}
	p.inNamespace(cmd)
	o.Register(cmd)
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
			settings, unknown, err := p.settings(cmd.Context())
			if err != nil {
				return err
			}
			configs, notes, err := p.nodeConfigs(cmd.Context())
			if err != nil {
				return err
			}
			advise := func(nodes []sizing.Node) (sizing.Plan, error) { return sizing.NewPlan(nodes, settings), nil }
			switch {
			case unknown != "":
				notes = append([]string{unknown}, notes...)
			case len(configs) > 0:
				data, _, err := p.configMap(cmd.Context())
				if err != nil {
					return err
				}
				advise = func(nodes []sizing.Node) (sizing.Plan, error) { return sizing.NewPlanWith(nodes, data, configs) }
			}
			return o.Run(cmd.Context(), src, s, advise, notes)
		}),
	}
	p.inNamespace(cmd)
	o.Register(cmd)
	cmd.Flags().StringVar(&p.ciliumNamespace, "cilium-namespace", "kube-system", "namespace of Cilium's ConfigMap cilium-config")
	cmd.Flags().StringVar(&p.ciliumConfig, "cilium-config", "", "file with that ConfigMap, instead of the cluster's")
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
		Args:    cobra.NoArgs,
		PreRunE: p.agentsOnly,
		RunE:    p.show(&o),
	}
	p.inNamespace(cmd)
	o.Register(cmd)
	return cmd
}

func (p *plugin) atRisk() *cobra.Command {
	var o nodeview.AtRisk
	cmd := &cobra.Command{
		Use:   "at-risk",
		Short: "List connections that break by their next packet",
		Long: `List connections that live, as connection tracking knows, and have lost an entry
of their mapping, those for longest first: they break by the next packet of the
side that BREAKS-BY names, unless the other one speaks before. GONE says which
entry is missing: OUT translates the pod's packets, IN the server's.`,
		Example: `  kubectl renat at-risk
  kubectl renat at-risk -n shop -o wide`,
		Args:    cobra.NoArgs,
		PreRunE: p.agentsOnly,
		RunE:    p.show(&o),
	}
	o.Register(cmd)
	return cmd
}
