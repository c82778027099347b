// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"cmp"
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Target is a Hubble server that a Client, or others, connect to.
type Target struct {
	addr address
	tls  *TLS
}

// NewTarget checks address and TLS, which are those of Config.
func NewTarget(address string, t *TLS) (*Target, error) {
	addr, err := parseAddress(cmp.Or(address, DefaultAddress))
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
	conn, err := t.dial(pace, more...)
	if err != nil {
		return nil, err
	}
	return conn.ClientConn, nil
}

func (t *Target) dial(pace Pace, more ...grpc.DialOption) (*connection, error) {
	conn, creds := &connection{}, insecure.NewCredentials()
	if t.tls != nil {
		cfg, err := t.tls.config(t.addr)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(cfg)
	}
	var err error
	conn.ClientConn, err = grpc.NewClient(t.addr.dialed(), append([]grpc.DialOption{
		grpc.WithTransportCredentials(notingCreds{creds, conn}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(ctx, t.addr.network, t.addr.target)
			if err == nil && t.tls == nil {
				nc, err = newPacedConn(nc, pace)
			}
			conn.note(err)
			return nc, err
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
