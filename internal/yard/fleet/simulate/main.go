// SPDX-License-Identifier: Apache-2.0

// Command simulate tries renat with thousands of nodes on this machine, and tells
// what that cost. Exit code 3 means that something was lost.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/yard/fleet"
)

const (
	exitFailed = 1
	exitLost   = 3
)

func main() {
	fleet.Child()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	lost, err := run(ctx)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	case lost:
		os.Exit(exitLost)
	}
}

func run(ctx context.Context) (lost bool, err error) {
	c := fleet.Config{Log: zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr}).Level(zerolog.ErrorLevel)}
	flag.IntVar(&c.Nodes, "nodes", 5000, "nodes")
	flag.IntVar(&c.Clusters, "clusters", 1, "clusters, in each of which nodes have the same names")
	flag.DurationVar(&c.Every, "every", 10*time.Second, "time between two statuses of a node")
	flag.DurationVar(&c.Calm, "calm", 30*time.Second, "how long there are no incidents")
	flag.DurationVar(&c.Storm, "storm", 2*time.Minute, "how long there are")
	flag.IntVar(&c.Incidents, "incidents", 200_000, "how many there are in that time")
	flag.Float64Var(&c.Share, "share", 0.05, "of the nodes that have incidents")
	flag.IntVar(&c.Readers, "readers", 3, "browsers that show the page")
	flag.IntVar(&c.Replicas, "replicas", 3, "of the three NATS servers that store each message")
	flag.DurationVar(&c.GroupInterval, "group-interval", 10*time.Second, "of the receiver")
	flag.DurationVar(&c.Lease, "lease", 0, "after how long a hub that was killed is replaced; 0: as usual")
	flag.StringVar(&c.Dir, "dir", "", "where to keep what servers store, and logs; empty: nowhere")
	flag.StringVar(&c.Profiles, "profiles", "", "folder for CPU profiles of all processes")
	flag.Parse()
	if c.Dir == "" {
		if c.Dir, err = os.MkdirTemp("", "renat-fleet-"); err != nil {
			return false, err
		}
		defer os.RemoveAll(c.Dir)
	}
	r, err := fleet.Run(ctx, c)
	if err != nil {
		return false, err
	}
	r.Write(os.Stdout)
	return len(r.Lost) > 0, nil
}
