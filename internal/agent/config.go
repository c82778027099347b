// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/agent/guard"
	"github.com/renat-project/renat/internal/agent/tracing"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream"
)

// Config is what Run needs.
type Config struct {
	Node, Cluster string // named in incidents
	Version       string // of renat

	// Kernel is where map operations come from. It is the caller's to close.
	Kernel Kernel
	// Trace begins a trace in the kernel, as kprobes.Tracer's does; nil: there are
	// none.
	Trace func(emit func(correlator.Event)) (tracing.Kernel, error)
	// Hubble says where flows come from; Run sets Follow, Since and Logger.
	Hubble hubble.Config
	// NATS says where incidents go; with an empty URL to the embedded server.
	// Run sets Name, Wait and Log.
	NATS jetstream.Config

	// StateDir holds the outbox.
	StateDir string
	// NATSListen is the host:port of the embedded server when NATS.URL is
	// empty, port 0 for any.
	NATSListen string
	// OutboxMaxBytes bounds the outbox on disk; 0: outbox.DefaultMaxBytes.
	OutboxMaxBytes int64
	// Replicas in a NATS cluster of what the agent creates there; 0: 1.
	Replicas int

	// Settle and MaxConnections are as in correlator.Config, with its defaults.
	Settle         time.Duration
	MaxConnections int

	// Listener is where HTTP is served; nil: nowhere. Run closes it.
	Listener net.Listener
	// Observer says where to serve Hubble's flows with additions.
	Observer Observer
	// Guard, if not nil, says how to keep the entries of living connections; Run
	// sets Log.
	Guard *guard.Config
	// Access is who may ask for /v1; nil: this machine only.
	Access *api.Access
	// Pprof adds /debug/pprof, for the same.
	Pprof bool

	Log zerolog.Logger
	// Started, if not nil, is called once the agent can be reached.
	Started func(Addresses)
}

// Addresses are where an agent can be reached.
type Addresses struct {
	HTTP string // host:port; empty without a server
	NATS string // URL for clients, without its secrets
}

// peaksFile is the file in StateDir with the maps' peaks.
const peaksFile = "peaks.json"

// defaultMaxConnections is the correlator's, which the status shows.
const defaultMaxConnections = 1 << 18

// Kernel is where map operations come from: a *kprobes.Tracer.
type Kernel interface {
	Run(ctx context.Context, emit func(correlator.Event)) error
	Status() kprobes.Status
	Stats() (kprobes.Stats, error)
	Lookup(t correlator.Tuple, d correlator.Dir) (correlator.Addr, bool, error)
	Open(correlator.Tuple) (bool, error)
	Keys(ctx context.Context, id uint32, each func(correlator.Tuple, correlator.Dir)) error
	CaughtUp() uint64
	Remembers() time.Duration
	guard.Kernel
}

// withDefaults fills in and checks.
func (c Config) withDefaults() (Config, error) {
	c.Hubble.Address = cmp.Or(c.Hubble.Address, hubble.DefaultAddress)
	c.MaxConnections = cmp.Or(c.MaxConnections, defaultMaxConnections)
	if c.Access == nil {
		c.Access = &api.Access{}
	}
	switch {
	case c.Node == "":
		return c, errors.New("the agent needs its node's name: set it with --node-name")
	case c.StateDir == "":
		return c, errors.New("the agent needs a folder for its outbox: set it with --state-dir")
	case c.OutboxMaxBytes < 0:
		return c, fmt.Errorf("an outbox of %d bytes is too small", c.OutboxMaxBytes)
	}
	return c, nil
}
