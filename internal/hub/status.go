// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
)

// serveStatus answers /status: how this hub, and NATS behind it, are.
func (h *Hub) serveStatus(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h.status(ctx)) // who asked has gone
}

func (h *Hub) status(ctx context.Context) *nodestatus.Hub {
	s := &nodestatus.Hub{
		Version: nodestatus.Version, Time: time.Now(), Name: h.config.Holder, Renat: h.config.Version,
		Notifies: h.config.Load != nil, Active: h.active.Load(), Receivers: []nodestatus.Receiver{},
	}
	s.Ready, s.Problem = h.isReady()
	lanes := h.describe(ctx)
	s.NATS = h.nats(ctx)
	if !s.NATS.Connected || s.NATS.Problem != "" {
		for _, l := range lanes {
			s.Receivers = append(s.Receivers, l.status())
		}
		return s
	}
	var err error
	if s.Leader, err = jetstream.LeaseHolder(ctx, h.config.NATS); err != nil {
		s.NATS.Problem = err.Error()
	}
	for _, l := range lanes {
		r := l.status()
		if r.Backlog, err = jetstream.Backlog(ctx, h.config.NATS, consumerOf(r.Name)); err != nil {
			s.NATS.Problem = err.Error()
		}
		s.Receivers = append(s.Receivers, r)
	}
	return s
}

// status is what a lane knows without NATS.
func (l Lane) status() nodestatus.Receiver {
	return nodestatus.Receiver{Name: l.Receiver, Circuit: string(l.Circuit), Queued: l.Queued, Delivered: l.Delivered, Failing: l.failing}
}

// nats looks at what renat stores there.
func (h *Hub) nats(ctx context.Context) nodestatus.NATS {
	n := nodestatus.NATS{Stores: []nodestatus.Store{}}
	if n.Connected = h.config.NATS.IsConnected(); !n.Connected {
		return n
	}
	n.Server, n.Cluster = h.config.NATS.ConnectedServerVersion(), h.config.NATS.ConnectedClusterName()
	stores, err := jetstream.Stores(ctx, h.config.NATS)
	if err != nil {
		n.Problem = err.Error()
	}
	for _, s := range stores {
		n.Stores = append(n.Stores, nodestatus.Store(s))
		if s.Name == jetstream.DeadStream {
			n.DeadLetters = s.Messages
		}
	}
	return n
}
