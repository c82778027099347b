// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"github.com/cilium/cilium/api/v1/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

// Config describes the server. Its zero value is an agent's Observer on a
// socket in a directory of its own.
type Config struct {
	// Listen is unix:///path or tcp://host:port, port 0 for any. Empty: a Unix
	// socket in a new temporary directory, which Stop removes.
	Listen string
	TLS    *tls.Config // nil: plain text

	// Capacity is how many events the ring holds. Zero: 4095, an agent's default.
	Capacity int

	Version  string // of the server; empty: "hubbletest"
	NodeName string // of the server; empty: "node-a"
	// PeerAddress is where relays are told that the Observer is; empty: at Addr.
	PeerAddress string
	// LostEventInterval is how often a reader that is too slow is told what it
	// lost. Zero: 1 s, as in an agent.
	LostEventInterval time.Duration
}

// Server is a running Observer.
type Server struct {
	observer.UnimplementedObserverServer
	cfg     Config
	network string
	address string
	dir     string // to remove; empty if none

	mu         sync.Mutex // guards what follows
	ring       *ring
	started    time.Time
	namespaces map[string]struct{}
	grpc       *grpc.Server // nil while halted
	served     chan struct{}
}

// New starts a server. The caller stops it.
func New(cfg Config) (*Server, error) {
	if cfg.Capacity <= 0 {
		cfg.Capacity = 4095
	}
	if cfg.Version == "" {
		cfg.Version = "hubbletest"
	}
	if cfg.NodeName == "" {
		cfg.NodeName = "node-a"
	}
	if cfg.LostEventInterval <= 0 {
		cfg.LostEventInterval = time.Second
	}
	s := &Server{cfg: cfg}
	if err := s.locate(); err != nil {
		return nil, err
	}
	if err := s.Resume(false); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) locate() error {
	path, isUnix := strings.CutPrefix(s.cfg.Listen, "unix://")
	switch {
	case s.cfg.Listen == "":
		dir, err := os.MkdirTemp("", "renat-hubble-")
		if err != nil {
			return fmt.Errorf("making a directory for the Observer's socket: %w", err)
		}
		s.dir, s.network, s.address = dir, "unix", filepath.Join(dir, "hubble.sock")
	case isUnix:
		s.network, s.address = "unix", path
	default:
		s.network, s.address = "tcp", strings.TrimPrefix(s.cfg.Listen, "tcp://")
	}
	return nil
}

// Addr returns the server's address in the form that hubble.Config takes.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.network == "unix":
		return "unix://" + s.address
	case s.cfg.TLS != nil:
		return "tls://" + s.address
	}
	return "tcp://" + s.address
}

// Halt ends all connections and stops listening, as a stopped agent does.
func (s *Server) Halt() {
	s.mu.Lock()
	g, served := s.grpc, s.served
	s.grpc = nil
	s.mu.Unlock()
	if g != nil {
		g.Stop()
		<-served
	}
}

// Resume listens again after Halt, on the same address. keep leaves the ring
// and the uptime as they were, as if the network had been away; else they
// begin anew, as in a restarted agent.
func (s *Server) Resume(keep bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grpc != nil {
		return errors.New("resuming the Observer: it was not halted")
	}
	l, err := net.Listen(s.network, s.address)
	if err != nil {
		return fmt.Errorf("starting the Observer: %w", err)
	}
	s.address = l.Addr().String()
	if !keep {
		s.ring = newRing(s.cfg.Capacity)
		s.started = time.Now()
		s.namespaces = map[string]struct{}{}
	}
	opts := []grpc.ServerOption{grpc.WaitForHandlers(true)}
	if s.cfg.TLS != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(s.cfg.TLS)))
	}
	s.grpc, s.served = grpc.NewServer(opts...), make(chan struct{})
	observer.RegisterObserverServer(s.grpc, s)
	h := health.NewServer()
	h.SetServingStatus("hubble.server.Observer", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s.grpc, h)
	peer.RegisterPeerServer(s.grpc, peers{server: s})
	reflection.Register(s.grpc)
	go func(g *grpc.Server, served chan struct{}) {
		defer close(served)
		_ = g.Serve(l) // ends with Halt, and tells nothing else
	}(s.grpc, s.served)
	return nil
}

// Stop halts the server for good.
func (s *Server) Stop() {
	s.Halt()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir) // a leftover in the temporary directory harms nobody
	}
}

// current returns the ring in use.
func (s *Server) current() *ring {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring
}

// Feed writes an event: a flow, or lost events. The server keeps it, the
// caller must not change it any more.
func (s *Server) Feed(resp *observer.GetFlowsResponse) error {
	e := entry{flow: resp.GetFlow(), lost: resp.GetLostEvents()}
	if e.flow == nil && e.lost == nil {
		return errors.New("feeding the Observer: the response holds neither a flow nor lost events")
	}
	switch {
	case e.flow.GetTime().IsValid():
		e.time = e.flow.GetTime().AsTime()
	case resp.GetTime().IsValid():
		e.time = resp.GetTime().AsTime()
	}
	s.noteNamespaces(e.flow)
	return s.current().put(e)
}

// Behind returns how many events the slowest client has still to be sent; 0
// without one. What lies in the buffers of its connection counts as sent.
func (s *Server) Behind() int { return int(s.current().behind()) }

// Readers returns how many GetFlows calls read from the ring: what is fed from
// now on comes after the place where they began.
func (s *Server) Readers() int { return s.current().reading() }

// Seal tells that nothing will be fed any more, so that the newest event is
// not withheld.
func (s *Server) Seal() { s.current().seal() }

func (s *Server) noteNamespaces(f *flow.Flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ep := range []*flow.Endpoint{f.GetSource(), f.GetDestination()} {
		if ns := ep.GetNamespace(); ns != "" {
			s.namespaces[ns] = struct{}{}
		}
	}
}
