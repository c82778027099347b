// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
)

// Target is a Hubble server that others than a Client connect to.
type Target struct {
	addr address
	tls  *TLS
}

// NewTarget checks address and TLS, which are those of Config.
func NewTarget(address string, t *TLS) (*Target, error) {
	addr, err := parseAddress(orDefault(address, DefaultAddress))
	if err != nil {
		return nil, err
	}
	if t == nil && addr.tls {
		t = &TLS{}
	}
	if t != nil {
		if _, err := t.config(addr); err != nil {
			return nil, err
		}
	}
	return &Target{addr: addr, tls: t}, nil
}

// Dial prepares a connection, which the first call makes. Certificates are
// read anew each time. A connection without TLS keeps the pace.
func (t *Target) Dial(pace Pace, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	creds, err := transport(t.addr, t.tls)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(t.addr.dialed(), append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, t.addr.network, t.addr.target)
			if err == nil && t.tls == nil {
				conn = &pacedConn{Conn: conn, Pace: pace}
			}
			return conn, err
		}),
		grpc.WithUserAgent("renat"),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to Hubble at %s: %w", t.addr.target, err)
	}
	return conn, nil
}
