// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
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
