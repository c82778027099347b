// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// natsFlags say which NATS server to use.
type natsFlags struct {
	jetstream.Config
	stateDir string
	listen   string // where the server inside this process takes clients; "": nowhere
}

func (n *natsFlags) register(cmd *cobra.Command, url string) {
	f := cmd.Flags()
	n.registerRemote(f, url)
	f.StringVar(&n.stateDir, "state-dir", "", "use a NATS server inside this process that stores in this folder, instead of --nats-url")
	cmd.MarkFlagsMutuallyExclusive("nats-url", "state-dir")
}

// registerRemote is register for commands whose state directory is something else.
func (n *natsFlags) registerRemote(f *pflag.FlagSet, url string) {
	usage.NATS(f, &n.Config, url, "NATS server, or several separated by commas; each may hold user:password@")
}

// natsWait is how long a command that cannot do without NATS waits for it.
const natsWait = 5 * time.Second

// natsLink is a connection to NATS, and the server at its other end when that
// is in this process.
type natsLink struct {
	*nats.Conn
	server *embedded.Server // may be nil
	dir    string           // of the server's store
}

// connect connects to the server of the flags, or starts one in dir when that
// is not empty. The caller closes the link.
func (n *natsFlags) connect(ctx context.Context, dir string, log zerolog.Logger) (*natsLink, error) {
	link := &natsLink{dir: dir}
	cfg := n.Config
	cfg.Name, cfg.Log, cfg.Wait = "renat "+buildVersion(), log, natsWait
	var err error
	if dir != "" {
		if link.server, err = embedded.Start(ctx, embedded.Config{Dir: dir, Listen: n.listen, Log: log}); err != nil {
			return nil, err
		}
		cfg.URL, cfg.InProcess = "", link.server
	}
	if link.Conn, err = jetstream.Connect(ctx, cfg); err != nil {
		link.stop()
		return nil, err
	}
	return link, nil
}

// connectToRead connects to what is there, and creates nothing. A store that
// another renat has open is read through that one.
func (n *natsFlags) connectToRead(ctx context.Context, log zerolog.Logger) (*natsLink, error) {
	if n.stateDir == "" {
		link, err := n.connect(ctx, "", log)
		if errors.Is(err, jetstream.ErrUnreachable) {
			err = fmt.Errorf("%w\nname the server with --nats-url, or the store of a replay with --state-dir", err)
		}
		return link, err
	}
	store, err := embedded.Look(n.stateDir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading --state-dir: %w", err)
	case store.URL != "":
		other := *n
		other.Config = jetstream.Config{URL: store.URL}
		return other.connect(ctx, "", log)
	case !store.Exists:
		return nil, fmt.Errorf("--state-dir %s holds no store: %w here yet\npublish with renat replay into the same server or store first", n.stateDir, jetstream.ErrNoStream)
	}
	return n.connect(ctx, n.stateDir, log)
}

// Close ends the connection, then the server.
func (l *natsLink) Close() {
	l.Conn.Close()
	l.stop()
}

func (l *natsLink) stop() {
	if l.server != nil {
		l.server.Shutdown()
	}
}

// explain adds to an error what is wrong with the store, which the server tells
// its clients only by silence.
func (l *natsLink) explain(err error) error {
	if err == nil || l.server == nil {
		return err
	}
	if sick := l.server.Health(); sick != nil {
		return fmt.Errorf("%w\nthe store in %s: %w\nmake room or choose another --state-dir, and replay again: nothing is stored twice", err, l.dir, sick)
	}
	return err
}
