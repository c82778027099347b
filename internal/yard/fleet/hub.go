// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/sinks/jetstream"
)

// hubRole is a hub with its page, as renat hub runs one.
type hubRole struct {
	NATS, Holder, Receiver string
	Lease, GroupInterval   time.Duration
	Replicas               int
}

// groupWait is how long the receiver's first notification of a group waits.
const groupWait = time.Second

func (r *hubRole) play(ctx context.Context, ready func(...string)) error {
	log := zerolog.New(os.Stderr).Level(zerolog.InfoLevel).With().Timestamp().Logger()
	nc, err := jetstream.Connect(ctx, jetstream.Config{URL: r.NATS, Name: "renat hub " + r.Holder, Wait: time.Minute, Log: log})
	if err != nil {
		return err
	}
	defer nc.Close()
	text := fmt.Sprintf("receivers:\n  - name: ops\n    webhook: {url: '%s'}\n    group_wait: %s\n    group_interval: %s\n    rate: {per_second: 1000, burst: 1000}\n",
		r.Receiver, groupWait, r.GroupInterval)
	h, err := hub.New(hub.Config{
		NATS: nc, Holder: r.Holder, Lease: r.Lease, Replicas: r.Replicas, Version: "fleet", Log: log,
		Load: func() (*config.Config, error) { return config.Parse([]byte(text)) },
	})
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends when it is closed
	defer server.Close()
	ready(l.Addr().String())
	return h.Run(ctx)
}
