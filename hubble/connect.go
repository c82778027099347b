// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Sizes for a stream of many small messages: whole batches in one read, and
// few window updates. They are also what a stalled client leaves in memory.
const (
	readBuffer = 128 << 10
	window1MiB = 1 << 20
)

// connection is one attempt to talk to the server. gRPC reports why an attempt
// failed as text only, so the error itself is kept on the way.
type connection struct {
	*grpc.ClientConn
	mu   sync.Mutex
	last error // of the latest dial or handshake; guarded by mu
}

func (c *connection) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = err
}

func (c *connection) fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// dial prepares a connection; it is made by the first call. Certificates are
// read anew each time.
func (c *Client) dial() (*connection, error) {
	conn := &connection{}
	creds, err := transport(c.addr, c.cfg.TLS)
	if err != nil {
		return nil, err
	}
	conn.ClientConn, err = grpc.NewClient(c.addr.dialed(),
		grpc.WithTransportCredentials(notingCreds{creds, conn}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(ctx, c.addr.network, c.addr.target)
			conn.note(err)
			if err == nil && c.cfg.TLS == nil {
				nc = &pacedConn{Conn: nc, Pace: clientPace}
			}
			return nc, err
		}),
		grpc.WithUserAgent("renat"),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithReadBufferSize(readBuffer),
		grpc.WithInitialWindowSize(window1MiB),
		grpc.WithInitialConnWindowSize(window1MiB),
	)
	if err != nil {
		return nil, c.named("preparing the connection to Hubble at", err)
	}
	return conn, nil
}

// transport returns what secures a connection; t may be nil.
func transport(a address, t *TLS) (credentials.TransportCredentials, error) {
	if t == nil {
		return insecure.NewCredentials(), nil
	}
	cfg, err := t.config(a)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(cfg), nil
}

// notingCreds keep the error of a failed handshake.
type notingCreds struct {
	credentials.TransportCredentials
	conn *connection
}

func (n notingCreds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	nc, info, err := n.TransportCredentials.ClientHandshake(ctx, authority, raw)
	n.conn.note(err)
	if err == nil && info.AuthType() == "tls" {
		nc = noteAlerts{nc, n.conn}
	}
	return nc, info, err
}

func (n notingCreds) Clone() credentials.TransportCredentials {
	return notingCreds{n.TransportCredentials.Clone(), n.conn}
}

// noteAlerts keeps the alert that a server ends a connection with: in TLS 1.3
// its verdict on the client certificate comes after the handshake.
type noteAlerts struct {
	net.Conn
	conn *connection
}

func (r noteAlerts) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	var op *net.OpError
	if err != nil && errors.As(err, &op) && op.Op == "remote error" {
		r.conn.note(err)
	}
	return n, err
}
