// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// natsFlags say which NATS server to use.
type natsFlags struct {
	jetstream.Config
	stateDir string
}

func (n *natsFlags) register(f *pflag.FlagSet, url string) {
	f.StringVar(&n.URL, "nats-url", url, "NATS server, or several separated by commas")
	f.StringVar(&n.Creds, "nats-creds", "", "file with NATS credentials (JWT and seed)")
	f.StringVar(&n.CA, "nats-tls-ca-cert-file", "", "file with the certificate authority of the NATS server")
	f.StringVar(&n.Cert, "nats-tls-client-cert-file", "", "file with the client certificate for NATS")
	f.StringVar(&n.Key, "nats-tls-client-key-file", "", "file with the key of the client certificate for NATS")
	f.StringVar(&n.stateDir, "state-dir", "", "use a NATS server inside this process that stores in this folder, instead of --nats-url")
}

// natsWait is how long a command that cannot do without NATS waits for it.
const natsWait = 5 * time.Second

// connect connects to the server of the flags, or starts one in dir when that
// is not empty. The caller calls close when done.
func (n *natsFlags) connect(ctx context.Context, dir string, log zerolog.Logger) (nc *nats.Conn, closeAll func(), err error) {
	cfg := n.Config
	cfg.Name, cfg.Log, cfg.Wait = "renat "+buildVersion(), log, natsWait
	if dir == "" {
		if nc, err = jetstream.Connect(ctx, cfg); err != nil {
			return nil, nil, err
		}
		return nc, nc.Close, nil
	}
	server, err := embedded.Start(ctx, embedded.Config{Dir: dir, Log: log})
	if err != nil {
		return nil, nil, err
	}
	cfg.URL, cfg.InProcess = "", server
	if nc, err = jetstream.Connect(ctx, cfg); err != nil {
		server.Shutdown()
		return nil, nil, err
	}
	return nc, func() {
		nc.Close()
		server.Shutdown()
	}, nil
}
