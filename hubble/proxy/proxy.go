// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/enrich"
)

// Config is what a Proxy needs.
type Config struct {
	// Upstream is the Observer behind, as in hubble.Config; TLS is how to
	// secure the connection to it, nil: plain text, but for tls:// addresses.
	Upstream string
	TLS      *hubble.TLS
	// Listener is where to serve, see Listen. Run closes it.
	Listener net.Listener
	// ServerTLS secures what is served; nil: plain text.
	ServerTLS *ServerTLS
	// Source is what is known of connections. It is asked from many goroutines.
	Source enrich.Source
}

// Stats are counts since the start.
type Stats struct {
	Calls    uint64 // calls passed on
	Flows    uint64 // flows passed on, to all clients together
	Enriched uint64 // of those, with something added
	Lost     uint64 // events that the Observer told its clients it lost
}

// Proxy is an Observer in front of another one.
type Proxy struct {
	config Config
	server *grpc.Server
	target *hubble.Target

	calls, flows, enriched, lost atomic.Uint64
}

const (
	// window is how much of a call may be on its way from the Observer behind
	// to a client that does not read, in bytes. With as much again in the
	// client's own windows it is all that a slow reader keeps here.
	window = 256 << 10
	// batch is how much is read from, or written to, a connection at once.
	batch = 64 << 10
	// maxCalls is how many calls one client connection may have at a time.
	maxCalls = 256
)

// pace lets what a busy Observer sends gather, to be passed on together: that
// costs less than half of passing on each flow at once. One with less than some
// 4,000 flows/s is not delayed.
var pace = hubble.Pace{Between: 250 * time.Microsecond, Burst: 4}

// New checks the configuration, certificate files included. It does not
// connect.
func New(c Config) (*Proxy, error) {
	if c.Listener == nil || c.Source == nil {
		return nil, errors.New("the Observer proxy needs a listener and a source")
	}
	p := &Proxy{config: c}
	var err error
	if p.target, err = hubble.NewTarget(c.Upstream, c.TLS); err != nil {
		return nil, err
	}
	options := []grpc.ServerOption{
		grpc.UnknownServiceHandler(p.forward),
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.ReadBufferSize(4 << 10), // requests are few and small
		grpc.WriteBufferSize(batch),
	}
	if c.ServerTLS != nil {
		config, err := c.ServerTLS.config()
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	p.server = grpc.NewServer(options...)
	return p, nil
}

// Run serves until ctx ends, which ends all calls, and returns ctx's error
// then. It fails when the listener does.
func (p *Proxy) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, p.server.Stop)()
	if err := p.server.Serve(p.config.Listener); ctx.Err() == nil {
		return fmt.Errorf("serving the Observer: %w", err)
	}
	return ctx.Err()
}

// Stats returns the counts.
func (p *Proxy) Stats() Stats {
	return Stats{Calls: p.calls.Load(), Flows: p.flows.Load(), Enriched: p.enriched.Load(), Lost: p.lost.Load()}
}

// dial prepares a call's connection to the Observer behind. Messages may have
// any size: it is the client that sets limits.
func (p *Proxy) dial() (*grpc.ClientConn, error) {
	return p.target.Dial(pace,
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32)),
		grpc.WithReadBufferSize(batch),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
	)
}
