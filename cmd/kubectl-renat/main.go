// SPDX-License-Identifier: Apache-2.0

// Command kubectl-renat is a plugin of kubectl: kubectl renat shows which nodes
// of a cluster evict connections from Cilium's NAT map, whom that hurts, and
// which size of the map stops it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/usage"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitFound  = 3 // what --fail-on names
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
	var found *nodeview.FoundError
	var wrong nodeview.UsageError
	switch {
	case err == nil || errors.Is(err, syscall.EPIPE):
		return exitDone
	case errors.As(err, &found):
		fmt.Fprintln(errs, "kubectl renat:", found)
		return exitFound
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(errs, "kubectl renat: interrupted")
		return exitFailed
	case !p.started || errors.As(err, &wrong):
		fmt.Fprint(errs, usage.Text("kubectl renat", called, err, nil))
		return exitUsage
	}
	fmt.Fprintln(errs, "kubectl renat:", err)
	return exitFailed
}
