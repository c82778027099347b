// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/hubble/enrich"
)

// maxLine is the longest line that hubble observe --input-file reads, its end
// included (a bufio.Scanner, as it is): longer ones pass as they are.
const maxLine = bufio.MaxScanTokenSize - 1

type enrichFlags struct {
	*globals
	agent     string
	token     string
	recording string
	input     string
	nats      natsFlags
}

func newEnrich(g *globals) *cobra.Command {
	e := &enrichFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "enrich",
		Short: "Add NAT ports and incidents to what hubble observe prints",
		Long: `Add to the flows of hubble observe -o jsonpb, read from standard input, the
address and port that a masqueraded connection is sent from, and the incident
that broke it. The output is of the same form, so that hubble can print it:

  Summary     gains "SNAT 192.168.50.1:41234", "(was :40000)" after re-NATting,
              and the first characters of the incident's id
  extensions  holds renat: {pre_nat, post_nat, incident}, unless it is in use

Everything else passes as it is, line by line and in order.

What is known comes from the agent of this node (ports and incidents), from NATS
(incidents of all nodes, and their ports), or from a recording (both).`,
		Example: `  hubble observe --follow -o jsonpb | renat enrich | hubble observe --input-file -
  renat enrich --recording DIR --input-file flows.jsonl | hubble observe --input-file - -o json
  hubble observe --since 1h -o jsonpb | renat enrich --nats-url nats://nats:4222 | jq .flow.Summary`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd.Context(), cmd.InOrStdin()) },
	}
	f := cmd.Flags()
	f.StringVar(&e.agent, "agent", "http://127.0.0.1:9969", "URL of the node's agent")
	f.StringVar(&e.token, "token-file", "", "file with the bearer token of the agent")
	f.StringVar(&e.recording, "recording", "", "folder of a recording, instead of an agent")
	f.StringVar(&e.input, "input-file", "-", `file to read instead of standard input; "-" is standard input`)
	e.nats.registerRemote(f, "")
	cmd.MarkFlagsMutuallyExclusive("agent", "recording", "nats-url")
	return cmd
}

func (e *enrichFlags) run(ctx context.Context, in io.Reader) error {
	if e.input != "-" {
		f, err := os.Open(e.input)
		if err != nil {
			return fmt.Errorf("reading flows: %w", err)
		}
		defer f.Close()
		in = f
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	source, err := e.source(ctx)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		flows := bufio.NewReaderSize(in, maxLine)
		if first, err := flows.Peek(1); err == nil && first[0] != '{' {
			fmt.Fprintln(e.err, "renat: the input is not what hubble observe -o jsonpb prints; it passes as it is")
		}
		done <- enrich.Lines(source, maxLine, flows, e.out)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done(): // a read of a terminal or a pipe cannot be broken off
		return nil
	}
}
