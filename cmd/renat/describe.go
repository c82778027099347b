// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/usage"
)

func newDescribe(g *globals) *cobra.Command {
	var nats natsFlags
	var o nodeview.Describe
	cmd := &cobra.Command{
		Use:   "describe ID",
		Short: "Show one incident with its evidence, drawn",
		Long: `Show one incident that is stored in NATS JetStream: its fields, its timeline as
a drawing, and in words what happened. ID is an incident's id or how it begins,
at least six characters, as renat observe, hubble and notifications show it.`,
		Example: `  renat describe 142cbfff
  renat describe renat:142cbfff --state-dir store/
  renat describe 142cbfff -o yaml`,
		Args: usage.One("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			link, err := nats.connectToRead(cmd.Context(), g.log())
			if err != nil {
				return err
			}
			defer link.Close()
			return o.Run(cmd.Context(), &fleet.NATS{Conn: link.Conn, Log: g.log()}, g.screen(), args[0])
		},
	}
	nats.register(cmd, defaultNATS)
	o.Register(cmd)
	return cmd
}
