// SPDX-License-Identifier: Apache-2.0

// Command kubectl-renat is a plugin of kubectl: kubectl renat shows which nodes
// of a cluster evict connections from Cilium's NAT map, whom that hurts, and
// which size of the map stops it.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/renat-project/renat/internal/view/usage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Stdout, os.Stderr, os.Args[1:]))
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, out, errs io.Writer, args []string) int {
	p := newPlugin(out, errs)
	cmd := p.root()
	cmd.SetArgs(args)
	called, err := cmd.ExecuteContextC(ctx)
	return usage.Exit(ctx, errs, "kubectl renat", called, err, p.started, nil)
}
