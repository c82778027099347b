// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/notification"
)

type hubFlags struct {
	*globals
	nats      natsFlags
	http      httpFlags
	config    string
	demo      string
	check     bool
	external  string
	secretly  bool // the configuration is checked without its secrets
	replicas  int
	incidents int
}

func newHub(g *globals) *cobra.Command {
	h := &hubFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Notify people and systems of incidents",
		Long: `Read incidents from NATS JetStream, group them, and notify webhooks, Slack and
Alertmanager, or make Kubernetes Events. Of several hubs on one NATS one is
active; another takes over when it ends.

A page on --listen shows the incidents and the nodes, see docs/page.md.

The configuration is a YAML file, read again on SIGHUP and when it changes; one
that is wrong is reported, and the hub goes on with the one before. See
docs/notifications.md. Without one the hub notifies nobody and serves the page.`,
		Example: `  renat hub --state-dir store/
  renat hub --demo recording/
  renat hub --check-config --config hub.yaml
  renat hub --check-config --without-secrets --config hub.yaml
  renat hub --config hub.yaml --nats-url nats://nats.example:4222
  renat hub test-notification ops --config hub.yaml
  renat hub redeliver --config hub.yaml`,
		Args: cobra.NoArgs,
		PreRun: func(cmd *cobra.Command, _ []string) {
			if !cmd.Flags().Changed("log-level") && h.demo == "" {
				h.logLevel = "info" // a server says what it does
			}
			if !cmd.Flags().Changed("nats-listen") && h.demo != "" {
				h.nats.listen = freeOf(cmd.Context(), h.nats.listen)
			}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return h.run(cmd.Context()) },
	}
	f := cmd.PersistentFlags()
	f.StringVar(&h.config, "config", "", "file with the receivers (YAML)")
	f.StringVar(&h.external, "external-url", "", "URL under which people reach the page: notifications link to it")
	f = cmd.Flags()
	h.nats.register(cmd, defaultNATS)
	f.StringVar(&h.nats.listen, "nats-listen", "127.0.0.1:4222", "where the NATS server of --state-dir or --demo takes clients; it asks nobody for a password; empty: nowhere")
	f.StringVar(&h.demo, "demo", "", "show a recording, in this folder, as if it ended now; without --state-dir what is stored for that is removed at the end")
	cmd.MarkFlagsMutuallyExclusive("demo", "nats-url")
	cmd.MarkFlagsMutuallyExclusive("demo", "config")
	f.BoolVar(&h.check, "check-config", false, "check the configuration, say what is wrong, and exit")
	f.BoolVar(&h.secretly, "without-secrets", false, "with --check-config: do not look whether secrets and certificates are there")
	h.http.register(f, "127.0.0.1:9972")
	f.IntVar(&h.incidents, "page-incidents", hub.DefaultIncidents, "how many incidents the page can show, some 0.8 kB of memory each")
	f.IntVar(&h.replicas, "nats-replicas", 1, "copies, in a NATS cluster, of what the hub stores there; what has fewer gets more")
	cmd.AddCommand(newTestNotification(h), newRedeliver(h))
	return cmd
}

func (h *hubFlags) load() (*config.Config, error) {
	if h.config == "" {
		return nil, usage.Errorf("say with --config which file has the receivers")
	}
	return config.Options{ExternalURL: h.external, WithoutSecrets: h.secretly}.Load(h.config)
}

func (h *hubFlags) run(ctx context.Context) error {
	if h.secretly && !h.check {
		return usage.Errorf("--without-secrets is for --check-config only")
	}
	if u, err := url.Parse(h.external); h.external != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return usage.Errorf("--external-url %q is not a URL like https://renat.example", h.external)
	}
	if h.check {
		c, err := h.load()
		if err == nil {
			receivers := "receivers"
			if len(c.Receivers) == 1 {
				receivers = "receiver"
			}
			fmt.Fprintf(h.out, "%s is right: %d %s\n", h.config, len(c.Receivers), receivers)
		}
		return err
	}
	if h.config == "" && h.http.listen == "" {
		return usage.Errorf("say with --config which file has the receivers, or with --listen where to serve the page")
	}
	if h.config != "" {
		if _, err := h.load(); err != nil {
			return err
		}
	}
	if h.incidents < 1 {
		return usage.Errorf("--page-incidents %d is not positive", h.incidents)
	}
	access, err := h.http.access()
	if err != nil {
		return err
	}
	listener, err := h.http.open(ctx)
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
	}
	store, cleanUp, err := h.store()
	if err != nil {
		return err
	}
	defer cleanUp()
	nc, err := h.nats.connect(ctx, store, h.log())
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	config := hub.Config{
		NATS: nc.Conn, Holder: holder(), Replicas: h.replicas,
		Incidents: h.incidents, Access: access, Version: buildVersion(), Log: h.log(),
	}
	if h.config != "" {
		config.Load, config.Reload = h.load, h.reloads(ctx, &background)
	}
	active, err := hub.New(config)
	if err != nil {
		return err
	}
	if h.demo != "" {
		if err := h.showDemo(ctx, nc, listener, &background); err != nil {
			return err
		}
	}
	if listener != nil {
		log := h.log()
		log.Info().Str("url", h.http.url(listener)).Msg("serving the page")
		server := newServer(active.Handler(), log)
		background.Go(func() { _ = server.Serve(listener) }) // ends when it is closed
		defer server.Close()
	}
	return nc.explain(active.Run(ctx))
}

// store returns the folder of a server in this process, "" if there is none.
func (h *hubFlags) store() (dir string, cleanUp func(), err error) {
	if h.demo == "" || h.nats.stateDir != "" {
		return h.nats.stateDir, func() {}, nil
	}
	return temporaryStore("demo")
}

// showDemo stores the recording of --demo and says where to look.
func (h *hubFlags) showDemo(ctx context.Context, nc *natsLink, page net.Listener, background *sync.WaitGroup) error {
	d, err := newDemo(ctx, h.demo, h.log())
	if err != nil {
		return err
	}
	if err := d.publish(ctx, nc, time.Now()); err != nil {
		return err
	}
	background.Go(func() { d.tell(ctx, nc) })
	if page != nil {
		d.announce(h.err, h.demo, h.http.url(page), nc.server.ClientURL())
	}
	return nil
}

// freeOf returns the address, or where something listens there already, one
// with any free port: a newcomer's machine may have a NATS of its own.
func freeOf(ctx context.Context, address string) string {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "127.0.0.1:0"
	}
	l.Close()
	return address
}

// reloads returns a channel that has a value on SIGHUP and when the file changed.
func (h *hubFlags) reloads(ctx context.Context, background *sync.WaitGroup) <-chan struct{} {
	reload, hup := make(chan struct{}), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	background.Go(func() {
		defer signal.Stop(hup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
			}
			select {
			case reload <- struct{}{}:
			case <-ctx.Done():
			}
		}
	})
	background.Go(func() {
		if err := hub.Watch(ctx, h.config, reload); err != nil {
			log := h.log()
			log.Warn().Err(err).Msg("changes of the configuration are not seen: send SIGHUP")
		}
	})
	return reload
}

// holder names this process.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d (%s)", host, os.Getpid(), nuid.Next())
}

func newTestNotification(h *hubFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "test-notification RECEIVER",
		Short:   "Send a sample, labelled as one, to a receiver",
		Example: "  renat hub test-notification ops --config hub.yaml",
		Args:    usage.One("RECEIVER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := h.load()
			if err != nil {
				return err
			}
			r, err := c.Receiver(args[0])
			if err != nil {
				return usage.Errorf("%w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), r.Timeout)
			defer cancel()
			n := notification.Sample(r.Name, time.Now())
			r.Rule.Render(n)
			if err := r.Destination.Send(ctx, n); err != nil {
				return fmt.Errorf("receiver %s did not take the sample: %w", r.Name, err)
			}
			if n.Untaken != nil {
				fmt.Fprintf(h.err, "not every server of receiver %s took the sample: %v\n", r.Name, n.Untaken)
			}
			fmt.Fprintf(h.out, "receiver %s took sample %s\n", r.Name, n.ID)
			return nil
		},
	}
}

func newRedeliver(h *hubFlags) *cobra.Command {
	receiver, natsFlags := "", natsFlags{}
	cmd := &cobra.Command{
		Use:   "redeliver",
		Short: "Send again what could not be delivered",
		Long: `Send again the notifications in the stream RENAT_DEAD, and remove those that
arrive; messages that were no incident for an older version are read again.`,
		Example: `  renat hub redeliver --config hub.yaml
  renat hub redeliver --config hub.yaml --receiver ops`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := h.load()
			if err != nil {
				return err
			}
			if receiver != "" {
				if _, err := c.Receiver(receiver); err != nil {
					return usage.Errorf("%w", err)
				}
			}
			nc, err := natsFlags.connectToRead(cmd.Context(), h.log())
			if err != nil {
				return err
			}
			defer nc.Close()
			return nc.explain(h.redeliver(cmd.Context(), nc.Conn, c, receiver))
		},
	}
	natsFlags.register(cmd, defaultNATS)
	cmd.Flags().StringVar(&receiver, "receiver", "", "only what was for this receiver")
	return cmd
}

func (h *hubFlags) redeliver(ctx context.Context, nc *nats.Conn, c *config.Config, receiver string) error {
	sent, failed := 0, 0
	err := hub.Redeliver(ctx, nc, c, receiver, func(r hub.Redelivered) {
		if r.Err != nil {
			failed++
			fmt.Fprintf(h.out, "%d\t%s\tstill undelivered: %v\n", r.Sequence, r.Title, r.Err)
			return
		}
		sent++
		fmt.Fprintf(h.out, "%d\t%s\tdelivered (had failed: %s)\n", r.Sequence, r.Title, r.Reason)
	})
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d delivered, %d still undelivered: they stay in RENAT_DEAD", sent, failed)
	}
	fmt.Fprintf(h.out, "%d delivered, none left\n", sent)
	return nil
}
