// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

const (
	// DefaultMaxStore bounds the store on disk, in bytes.
	DefaultMaxStore = 1 << 30

	// startTime bounds the start, which reads the store back.
	startTime = 30 * time.Second
	// maxMemory is for memory-backed streams and consumers; renat has only
	// the small state of its readers there.
	maxMemory = 64 << 20

	healthTries = 20
	healthPause = 10 * time.Millisecond
)

// ErrInUse says that another process runs a server on the same directory.
var ErrInUse = errors.New("state directory is in use")

// Config is what a Server needs to start.
type Config struct {
	// Dir holds the store. It is created, mode 0700, if missing.
	Dir string
	// Listen is the host:port clients connect to; port 0 takes a free one.
	// Empty: no socket, connections come from this process only. There is no
	// authentication: whoever reaches the address reads and writes incidents.
	Listen string
	// MaxStore bounds the store, in bytes; 0: DefaultMaxStore.
	MaxStore int64
	// Lock is what Suspend returned for Dir; nil: Start locks Dir itself.
	Lock *os.File
	// Log takes the server's own log lines.
	Log zerolog.Logger
}

// Server is a running NATS server.
type Server struct {
	nats   *natsserver.Server
	lock   *os.File
	listen bool
}

// Start starts a server and returns when it takes connections. The error names
// the directory or the address and what to do about it; it is ErrInUse when
// another process holds the directory.
func Start(ctx context.Context, c Config) (*Server, error) {
	if c.Dir == "" {
		return nil, errors.New("starting the embedded NATS server: give it a state directory")
	}
	s, err := start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded NATS server: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, c Config) (*Server, error) {
	opts, err := options(c)
	if err != nil {
		return nil, err
	}
	lock := c.Lock
	if lock == nil {
		if lock, err = lockDir(c.Dir); err != nil {
			return nil, err
		}
	}
	n, err := natsserver.NewServer(opts)
	if err != nil {
		lock.Close()
		return nil, err
	}
	log := &logger{log: c.Log, fatal: make(chan error, 1)}
	n.SetLoggerV2(log, false, false, false)
	s := &Server{nats: n, lock: lock, listen: !opts.DontListen}
	if err := s.await(ctx, log.fatal); err != nil {
		return nil, c.explain(err)
	}
	if err := writeHolder(lock, s.ClientURL()); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("free some space for the state directory %s, or choose another: %w", c.Dir, err)
	}
	return s, nil
}

func options(c Config) (*natsserver.Options, error) {
	opts := &natsserver.Options{
		ServerName:             "renat",
		DontListen:             c.Listen == "",
		JetStream:              true,
		StoreDir:               c.Dir,
		SyncAlways:             true,
		JetStreamMaxStore:      cmp.Or(c.MaxStore, DefaultMaxStore),
		JetStreamMaxMemory:     maxMemory,
		DisableJetStreamBanner: true,
		NoSigs:                 true,
	}
	if c.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address %q is not host:port: %w", c.Listen, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: port is not a number from 0 to 65535", c.Listen)
	}
	opts.Host, opts.Port = host, int(n)
	if n == 0 {
		opts.Port = natsserver.RANDOM_PORT
	}
	return opts, nil
}

// errNotReady says that the server is still starting.
var errNotReady = errors.New("not ready")

// await starts the server, or shuts it down. Its Start returns when clients
// can connect, or after it told the log why they cannot.
func (s *Server) await(ctx context.Context, fatal <-chan error) error {
	started := make(chan struct{})
	go func() {
		s.nats.Start()
		close(started)
	}()
	timeout := time.NewTimer(startTime)
	defer timeout.Stop()
	var err error
	select {
	case <-started:
		select {
		case err := <-fatal:
			s.Shutdown()
			return err
		default:
			return nil
		}
	case <-timeout.C:
		err = fmt.Errorf("%w after %s", errNotReady, startTime)
	case <-ctx.Done():
		err = ctx.Err()
	}
	// The store is still being read: it is ours until that ends.
	go func() {
		<-started
		s.Shutdown()
	}()
	return err
}

func (c Config) explain(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, errNotReady):
		return fmt.Errorf("reading the store %s takes longer than expected: wait longer, or move the directory away to begin anew: %w",
			filepath.Join(c.Dir, natsserver.JetStreamStoreDir), err)
	case c.Listen != "":
		return fmt.Errorf("see that nothing else listens on %s and that %s is writable: %w", c.Listen, c.Dir, err)
	}
	return fmt.Errorf("see that the state directory %s is writable, or choose another: %w", c.Dir, err)
}

// InProcessConn returns a connection to the server that needs no socket. It is
// what jetstream.Config.InProcess asks for.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.InProcessConn() }

// ClientURL returns the URL clients connect to, empty when the server has no
// listen address.
func (s *Server) ClientURL() string {
	if !s.listen {
		return ""
	}
	return s.nats.ClientURL()
}

// Health returns nil, or what keeps the server from storing. After a failed
// write, of a full disk for example, nats-server leaves the publishes of that
// stream unanswered for as long as it runs, also when there is space again:
// Shutdown and Start bring it back with all it had stored.
func (s *Server) Health() error {
	h := s.nats.Healthz(nil)
	// The server gives itself a millisecond to look at its listeners, which it
	// misses on a busy machine: only an answer that stays says anything.
	for try := 1; try < healthTries && h.StatusCode == http.StatusInternalServerError; try++ {
		time.Sleep(healthPause)
		h = s.nats.Healthz(nil)
	}
	if h.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("the embedded NATS server cannot store; see that its directory has free space, then restart it: %s", h.Error)
}

// Shutdown stops the server, waits until its store is closed, and frees the
// directory for another process. Close the connections first: their pending
// work is lost otherwise. Calling it again does nothing.
func (s *Server) Shutdown() {
	// Closing a second time returns an error that nobody needs.
	_ = s.Suspend().Close()
}

// Suspend stops the server as Shutdown does, and keeps the directory from other
// processes until the file is closed, or until the server that is started with
// it as Config.Lock has ended, or has failed to start.
func (s *Server) Suspend() *os.File {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	return s.lock
}
