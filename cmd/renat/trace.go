// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/usage"
)

func newTrace(g *globals) *cobra.Command {
	a := &agentURLs{globals: g}
	var o nodeview.Trace
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Show what a connection goes through in the maps, live",
		Long: `Show every operation on the entries of chosen connections in Cilium's NAT and
connection tracking maps, as it happens: inserts, refused ones too, evictions,
deletes, and deletes that found nothing; with the entry's value and age, who did
it, and on which CPU. Beside it stand the packets that Hubble showed of the same
connections, in the order of their times. The agent of this node does it, until
Ctrl-C; up to eight traces run on a node at once.

Connections are chosen in the kernel: the others cost next to nothing. More than
some 1,900 operations a second and CPU are counted instead of shown.`,
		Example: `  renat trace --pod shop/cart-7d9f
  renat trace --ip 10.0.1.7:40312 --to 192.0.2.1:443 --protocol TCP
  renat trace --to 192.0.2.1 --map nat -o json
  renat trace --pod shop/cart-7d9f --last 20`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, src fleet.Source, s *nodeview.Screen) error {
			agents, err := src.(*fleet.Agents).List(cmd.Context())
			if err != nil {
				return err
			}
			if len(agents) != 1 {
				return usage.Errorf("--agent: a trace is of one node")
			}
			return o.Run(cmd.Context(), agents[0], s)
		}),
	}
	a.register(cmd.Flags())
	o.Register(cmd)
	o.RegisterPod(cmd.Flags())
	return cmd
}
