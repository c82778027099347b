// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/internal/agent/tracing"
	"github.com/renat-project/renat/kprobes"
)

type agentFlags struct {
	*globals
	hubble    hubbleFlags
	nats      natsFlags
	replicas  int
	backend   kprobes.Backend
	bpffs     string
	config    string
	node      string
	cluster   string
	state     string
	outboxMax int64
	settle    time.Duration
	conns     int
	http      httpFlags
	pprof     bool
	observer  observerFlags
	guard     guardFlags
}

func newAgent(g *globals) *cobra.Command {
	a := &agentFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Watch this node and publish what broke",
		Long: `Watch this node: join what Hubble sees with what the kernel does to Cilium's
NAT maps, and publish every connection that broke to NATS JetStream.

Without --nats-url a NATS server runs inside the agent and takes clients on
--nats-listen, so that "renat observe" works at once. Incidents are on disk in
--state-dir before they count as published; while NATS is away they stay there.

The agent may start before Cilium, Hubble and NATS, and survives their restarts.
It needs the capabilities BPF and PERFMON, see docs/agent.md. /readyz on --listen
tells what it waits for.

--config is a YAML file with the flags' names as keys. The command line goes
before the environment, and that before the file.`,
		Example: `  renat agent
  renat agent --nats-url nats://nats.example:4222 --nats-creds /etc/renat/nats.creds
  renat agent --config /etc/renat/agent.yaml --listen :9969
  renat agent --observer-listen unix:///var/run/renat/hubble.sock
  renat agent --guard --guard-match namespace=shop
  curl -s localhost:9969/v1/status | jq .maps`,
		Args: cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if a.config != "" {
				if err := applyConfig(cmd.Flags(), a.config); err != nil {
					return err
				}
			}
			if !cmd.Flags().Changed("log-level") {
				a.logLevel = "info"
			}
			return a.check()
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&a.config, "config", "", "YAML file with these flags")
	a.hubble.register(f)
	a.nats.registerRemote(f, "")
	f.StringVar(&a.nats.listen, "nats-listen", "127.0.0.1:4222", "where the embedded NATS server takes clients, when there is no --nats-url; it asks nobody for a password")
	f.IntVar(&a.replicas, "nats-replicas", 1, "copies, in a NATS cluster, of what the agent creates there")
	f.StringVar((*string)(&a.backend), "backend", string(kprobes.Auto), "how to watch the kernel: auto, fentry, kprobe")
	f.StringVar(&a.bpffs, "bpffs", "/sys/fs/bpf", "where Cilium pins its maps")
	host, _ := os.Hostname() // an empty name is reported by check
	f.StringVar(&a.node, "node-name", host, "Kubernetes name of this node")
	f.StringVar(&a.cluster, "cluster-name", "default", "name of its cluster, as in Cilium's configuration")
	f.StringVar(&a.state, "state-dir", "/var/lib/renat", "folder for incidents on their way to NATS")
	f.Int64Var(&a.outboxMax, "outbox-max-bytes", 64<<20, "size of the incidents kept there; the oldest goes first")
	f.DurationVar(&a.settle, "settle", 3*time.Second, "how long after a connection lost its mapping an RST is waited for")
	f.IntVar(&a.conns, "max-connections", 1<<18, "how many connections to remember, some 180 bytes each")
	a.http.register(f, "127.0.0.1:9969")
	a.observer.register(f)
	a.guard.register(f)
	f.BoolVar(&a.pprof, "pprof", false, "serve /debug/pprof on --listen, too")
	return cmd
}

// check finds wrong flags.
func (a *agentFlags) check() error {
	switch {
	case a.node == "":
		return errors.New("say with --node-name which node this is")
	case !slices.Contains([]kprobes.Backend{kprobes.Auto, kprobes.Fentry, kprobes.Kprobe}, a.backend):
		return fmt.Errorf("--backend %q is not one of auto, fentry, kprobe", a.backend)
	case a.settle <= 0 || a.settle > 10*time.Minute:
		return fmt.Errorf("--settle %v is not between 0 and 10m", a.settle)
	case a.conns <= 0:
		return fmt.Errorf("--max-connections %d is not positive", a.conns)
	case a.outboxMax < 1<<20:
		return fmt.Errorf("--outbox-max-bytes %d is less than 1 MiB", a.outboxMax)
	}
	_, err := a.guard.config()
	return err
}

func (a *agentFlags) run(ctx context.Context) error {
	log := a.log()
	flows, err := a.hubble.config(log)
	if err != nil {
		return err
	}
	access, err := a.http.access()
	if err != nil {
		return err
	}
	guard, err := a.guard.config()
	if err != nil {
		return err
	}
	listener, err := a.http.open(ctx)
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
	}
	observer, err := a.observer.open(ctx)
	if err != nil {
		return err
	}
	if observer.Listener != nil {
		defer observer.Listener.Close()
	} else { // it serves nobody
		agent.OneCore()
	}
	tracer, err := kprobes.New(kprobes.Config{Backend: a.backend, BPFFS: a.bpffs, Traces: true})
	if err != nil {
		return err
	}
	defer tracer.Close()
	return agent.Run(ctx, agent.Config{
		Node: a.node, Cluster: a.cluster, Version: buildVersion(),
		Kernel: tracer, Trace: func(emit func(correlator.Event)) (tracing.Kernel, error) { return tracer.Trace(emit) }, Hubble: flows, NATS: a.nats.Config, Replicas: a.replicas,
		StateDir: a.state, NATSListen: a.nats.listen, OutboxMaxBytes: a.outboxMax,
		Settle: a.settle, MaxConnections: a.conns,
		Listener: listener, Access: access, Pprof: a.pprof, Observer: observer, Guard: guard, Log: log,
	})
}
