// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
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
// read anew each time.
func (t *Target) Dial(more ...grpc.DialOption) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if t.tls != nil {
		cfg, err := t.tls.config(t.addr)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(cfg)
	}
	name := t.addr.target
	if t.addr.network == "unix" {
		name = "localhost" // a path is no host name to send; the dialer knows it
	}
	conn, err := grpc.NewClient("passthrough:///"+name, append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, t.addr.network, t.addr.target)
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
