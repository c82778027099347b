// SPDX-License-Identifier: Apache-2.0

// Command renat tells which connections Cilium's NAT map broke, and why.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/renat-project/renat/internal/view/usage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	// A reader that has seen enough ends a command like any other error of its
	// output, not the process: there may be a store to close.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(ctx, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:]))
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, s streams, args []string) int {
	cmd, g := newRoot(s)
	cmd.SetArgs(args)
	called, err := cmd.ExecuteContextC(ctx)
	return usage.Exit(ctx, s.err, "renat", called, err, g.started, g.set)
}
