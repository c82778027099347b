// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/sizing"
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
	f.DurationVar(&a.timeout, "agent-timeout", fleet.DefaultTimeout, "how long each agent may take to answer")
}

// source returns where answers come from.
func (a *agentURLs) source() (fleet.Source, error) {
	var token string
	if a.token != "" {
		b, err := os.ReadFile(a.token)
		if err != nil {
			return nil, fmt.Errorf("reading --token-file: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	var all []fleet.Agent
	for _, u := range a.urls {
		agent, err := fleet.NewHTTPAgent(u)
		if err != nil {
			return nil, usageError{fmt.Errorf("--agent %w", err)}
		}
		agent.Token = token
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
		err = do(cmd, src, &nodeview.Screen{Out: a.out, Err: a.err, Colored: a.colored(a.out), Terminal: isTerminal(a.out)})
		var wrong nodeview.UsageError
		switch {
		case errors.As(err, &wrong):
			return usageError{err}
		case errors.Is(err, nodeview.ErrSilent):
			return fmt.Errorf("%w\nname running agents with --agent", err)
		}
		return err
	}
}

func newNodes(g *globals) *cobra.Command {
	a := &agentURLs{globals: g}
	var o nodeview.Nodes
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "Show a node's NAT maps: size, evictions, incidents",
		Long: `Show the NAT maps of the nodes whose agents are named. kubectl renat nodes shows
those of a cluster.`,
		Example: `  renat nodes
  renat nodes --watch
  renat nodes --agent http://127.0.0.1:9969 --fail-on breaking`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen) error {
			return o.Run(cmd.Context(), src, s)
		}),
	}
	a.register(cmd.Flags())
	o.Register(cmd.Flags())
	return cmd
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
			assumed := "Cilium's settings are not known, its defaults are assumed: give them with --cilium-config"
			var settings sizing.Settings
			if file != "" {
				var err error
				if settings, err = nodeview.ReadSettings(file); err != nil {
					return err
				}
				assumed = ""
			}
			return o.Run(cmd.Context(), src, s, settings, assumed)
		}),
	}
	a.register(cmd.Flags())
	o.Register(cmd.Flags())
	cmd.Flags().StringVar(&file, "cilium-config", "", "file with Cilium's ConfigMap cilium-config, as YAML or JSON")
	return cmd
}

func newTop(g *globals) *cobra.Command {
	a := &agentURLs{globals: g}
	var o nodeview.Top
	cmd := &cobra.Command{
		Use:     "top",
		Short:   "Show who fills a node's NAT maps",
		Example: "  renat top --limit 20",
		Args:    cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen) error {
			return o.Run(cmd.Context(), src, s)
		}),
	}
	a.register(cmd.Flags())
	o.Register(cmd.Flags())
	return cmd
}
