// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	"github.com/renat-project/renat/sinks/notification"
)

type hubFlags struct {
	*globals
	nats      natsFlags
	http      httpFlags
	config    string
	check     bool
	replicas  int
	incidents int
}

func newHub(g *globals) *cobra.Command {
	h := &hubFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Notify people and systems of incidents",
		Long: `Read incidents from NATS JetStream, group them, and notify webhooks, Slack and
Alertmanager. Of several hubs on one NATS one is active; another takes over
when it ends.

A page on --listen shows the incidents and the nodes, see docs/page.md.

The configuration is a YAML file, read again on SIGHUP and when it changes; one
that is wrong is reported, and the hub goes on with the one before. See
docs/notifications.md. Without one the hub notifies nobody and serves the page.`,
		Example: `  renat hub --state-dir store/
  renat hub --check-config --config hub.yaml
  renat hub --config hub.yaml --nats-url nats://nats.example:4222
  renat hub test-notification ops --config hub.yaml
  renat hub redeliver --config hub.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return h.run(cmd.Context()) },
	}
	f := cmd.PersistentFlags()
	f.StringVar(&h.config, "config", "", "file with the receivers (YAML)")
	f = cmd.Flags()
	h.nats.register(f, defaultNATS)
	f.BoolVar(&h.check, "check-config", false, "check the configuration, say what is wrong, and exit")
	h.http.register(f, "127.0.0.1:9972")
	f.IntVar(&h.incidents, "page-incidents", hub.DefaultIncidents, "how many incidents the page can show, some 0.8 kB of memory each")
	f.IntVar(&h.replicas, "nats-replicas", 1, "copies, in a NATS cluster, of what the hub creates there")
	cmd.AddCommand(newTestNotification(h), newRedeliver(h))
	return cmd
}

func (h *hubFlags) load() (*config.Config, error) {
	if h.config == "" {
		return nil, usageError{errors.New("say with --config which file has the receivers")}
	}
	return config.Load(h.config)
}

func (h *hubFlags) run(ctx context.Context) error {
	if h.check {
		c, err := h.load()
		if err == nil {
			fmt.Fprintf(h.out, "%s is right: %d receivers\n", h.config, len(c.Receivers))
		}
		return err
	}
	if h.config == "" && h.http.listen == "" {
		return usageError{errors.New("say with --config which file has the receivers, or with --listen where to serve the page")}
	}
	if h.config != "" {
		if _, err := h.load(); err != nil {
			return err
		}
	}
	if h.incidents < 1 {
		return usageError{fmt.Errorf("--page-incidents %d is not positive", h.incidents)}
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
	nc, err := h.nats.connect(ctx, h.nats.stateDir, h.log())
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
	if listener != nil {
		log := h.log()
		log.Info().Stringer("http", listener.Addr()).Msg("serving the page")
		server := &http.Server{Handler: active.Handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
		background.Go(func() { _ = server.Serve(listener) }) // ends when it is closed
		defer server.Close()
	}
	return nc.explain(active.Run(ctx))
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
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := h.load()
			if err != nil {
				return err
			}
			r, err := c.Receiver(args[0])
			if err != nil {
				return usageError{err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), r.Timeout)
			defer cancel()
			n := notification.Sample(r.Name, time.Now())
			r.Rule.Render(n)
			if err := r.Destination.Send(ctx, n); err != nil {
				return fmt.Errorf("receiver %s did not take the sample: %w", r.Name, err)
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
					return usageError{err}
				}
			}
			nc, err := natsFlags.connect(cmd.Context(), natsFlags.stateDir, h.log())
			if err != nil {
				return err
			}
			defer nc.Close()
			return nc.explain(h.redeliver(cmd.Context(), nc.Conn, c, receiver))
		},
	}
	natsFlags.register(cmd.Flags(), defaultNATS)
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
