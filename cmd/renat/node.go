// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/usage"
)

// agentURLs say which agents to ask, without Kubernetes.
type agentURLs struct {
	*globals
	urls    []string
	token   string
	timeout time.Duration
}

func (a *agentURLs) register(f *pflag.FlagSet) {
	f.StringSliceVar(&a.urls, "agent", []string{"http://127.0.0.1:9969"}, "URL of an agent; several may be given")
	f.StringVar(&a.token, "token-file", "", "file with the bearer token that the agents ask for")
	f.DurationVar(&a.timeout, "agent-timeout", fleet.DefaultTimeout, "how long each agent may take to answer; ten times that to read its maps (top)")
}

// source returns where answers come from.
func (a *agentURLs) source() (*fleet.Agents, error) { return a.of("--agent", a.urls) }

// of returns those at the URLs, which a flag of this name gave.
func (a *agentURLs) of(flag string, urls []string) (*fleet.Agents, error) {
	var all []fleet.Agent
	for _, u := range urls {
		agent, err := fleet.NewHTTPAgent(u)
		if err != nil {
			return nil, usage.Errorf("%s %w", flag, err)
		}
		agent.TokenFile = a.token
		all = append(all, agent)
	}
	return &fleet.Agents{
		List: func(context.Context) ([]fleet.Agent, error) { return all, nil }, Timeout: a.timeout,
	}, nil
}

// run makes the body of a command that asks agents.
func (a *agentURLs) run(do func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		src, err := a.source()
		if err != nil {
			return err
		}
		err = do(cmd, src, a.screen())
		if errors.Is(err, nodeview.ErrSilent) {
			return fmt.Errorf("%w\nname running agents with --agent", err)
		}
		return err
	}
}

// show makes cmd one that shows what agents answer.
func (a *agentURLs) show(cmd *cobra.Command, o interface {
	Register(*cobra.Command)
	Run(context.Context, fleet.Source, *nodeview.Screen) error
}) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = a.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen) error {
		return o.Run(cmd.Context(), src, s)
	})
	a.register(cmd.Flags())
	o.Register(cmd)
	return cmd
}

func newStatus(g *globals) *cobra.Command {
	a := &agentURLs{globals: g}
	var o nodeview.Status
	var hubs []string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether an agent, NATS and the hub are in order",
		Long: `Show whether renat itself is in order: the agents that are named, the hubs, and
NATS as the hubs see it. What is not in order is named, and the exit code is 3
then. kubectl renat status does it for a cluster.`,
		Example: `  renat status
  renat status --agent http://127.0.0.1:9969 --hub http://127.0.0.1:9972 -o json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen) error {
			var err error
			if o.Hubs, err = a.of("--hub", hubs); err != nil {
				return err
			}
			o.GuessedAgents, o.GuessedHubs = !cmd.Flags().Changed("agent"), !cmd.Flags().Changed("hub")
			return o.Run(cmd.Context(), src, s)
		}),
	}
	a.register(cmd.Flags())
	o.Register(cmd)
	cmd.Flags().StringSliceVar(&hubs, "hub", []string{"http://127.0.0.1:9972"}, "URL of a hub; several may be given")
	return cmd
}

func newNodes(g *globals) *cobra.Command {
	a := &agentURLs{globals: g}
	return a.show(&cobra.Command{
		Use:   "nodes",
		Short: "Show a node's NAT maps: size, evictions, incidents",
		Long: `Show the NAT maps of the nodes whose agents are named. kubectl renat nodes shows
those of a cluster.`,
		Example: `  renat nodes
  renat nodes --watch
  renat nodes --agent http://127.0.0.1:9969 --fail-on breaking`,
	}, &nodeview.Nodes{})
}

func newAdvise(g *globals) *cobra.Command {
	a := &agentURLs{globals: g}
	var o nodeview.Advise
	var file string
	cmd := &cobra.Command{
		Use:   "advise",
		Short: "Recommend a size of a node's NAT maps",
		Long: `Recommend a size of the NAT maps from what the agents measured and Cilium's
settings. Nothing is changed. docs/sizing.md has the reasons.`,
		Example: `  kubectl -n kube-system get configmap cilium-config -o yaml > cilium-config.yaml
  renat advise --cilium-config cilium-config.yaml --explain`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen) error {
			var settings *sizing.Settings
			notes := []string{"not known, so the sizes of the maps are taken as they are: give them with --cilium-config"}
			if file != "" {
				var err error
				if settings, err = nodeview.ReadSettings(file); err != nil {
					return err
				}
				notes = nil
			}
			advise := func(nodes []sizing.Node) (sizing.Plan, error) { return sizing.NewPlan(nodes, settings), nil }
			return o.Run(cmd.Context(), src, s, advise, notes)
		}),
	}
	a.register(cmd.Flags())
	o.Register(cmd)
	cmd.Flags().StringVar(&file, "cilium-config", "", "file with Cilium's ConfigMap cilium-config, as YAML or JSON")
	return cmd
}

func newTop(g *globals) *cobra.Command {
	a := &agentURLs{globals: g}
	return a.show(&cobra.Command{
		Use:     "top",
		Short:   "Show who fills a node's NAT maps",
		Example: "  renat top --limit 20",
	}, &nodeview.Top{})
}

func newAtRisk(g *globals) *cobra.Command {
	a := &agentURLs{globals: g}
	return a.show(&cobra.Command{
		Use:   "at-risk",
		Short: "List connections that break by their next packet",
		Long: `List connections that live, as connection tracking knows, and have lost an entry
of their mapping, those for longest first: they break by the next packet of the
side that BREAKS-BY names, unless the other one speaks before. docs/guard.md says
more.`,
		Example: `  renat at-risk
  renat at-risk --namespace shop -o wide`,
	}, &nodeview.AtRisk{})
}
