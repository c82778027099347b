// SPDX-License-Identifier: Apache-2.0

// Command renat tells which connections Cilium's NAT map broke, and why.
package main

import (
	"context"
	"errors"
	"fmt"
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
	exitFound  = 3 // what nodes --fail-on names
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
	var wrong usageError
	var found *nodeview.FoundError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, syscall.EPIPE):
		return exitDone // the reader of our output has seen enough
	case errors.As(err, &found):
		fmt.Fprintln(s.err, "renat:", found)
		return exitFound
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(s.err, "renat: interrupted")
		return exitFailed
	case !g.started || errors.As(err, &wrong):
		fmt.Fprint(s.err, usage.Text("renat", called, err, g.set))
		return exitUsage
	}
	fmt.Fprintln(s.err, "renat:", err)
	return exitFailed
}

// usageError is a wrong command line that a command notices itself.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }
