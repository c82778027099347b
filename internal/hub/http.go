// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/page"
)

// answerWithin is how long a lane may take to describe itself.
const answerWithin = time.Second

// Handler serves /metrics, /healthz (the process is in order) and /readyz (it is
// connected to NATS and, if it is the active one, all receivers work); and, to
// whom Config.Access lets in, /v1/groups, the API and the page.
func (h *Hub) Handler() http.Handler { return h.handler }

func (h *Hub) newHandler() http.Handler {
	mux := http.NewServeMux()
	access := h.config.Access
	if access == nil {
		access = &api.Access{}
	}
	mux.Handle("/", page.Handler())
	mux.Handle("/v1/", access.Wrap(api.New(api.Config{Board: h.board, Version: h.config.Version, Title: "hub"})))
	mux.Handle("GET /v1/groups", access.Wrap(http.HandlerFunc(h.serveGroups)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		say(w, !h.config.NATS.IsClosed(), "the connection to NATS was closed for good")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ok, why := h.isReady()
		say(w, ok, why)
	})
	return mux
}

func say(w http.ResponseWriter, ok bool, why string) {
	if !ok {
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n")) // who asked has gone
}

func (h *Hub) isReady() (ok bool, why string) {
	if !h.config.NATS.IsConnected() {
		return false, "not connected to NATS"
	}
	if !h.active.Load() {
		return true, ""
	}
	for _, l := range h.running() {
		if !l.ready.Load() {
			return false, "receiver " + l.receiver.Name + " is not running"
		}
	}
	return true, ""
}

func (h *Hub) running() (lanes []*lane) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.lanes {
		lanes = append(lanes, r.lane)
	}
	slices.SortFunc(lanes, func(a, b *lane) int { return cmp.Compare(a.receiver.Name, b.receiver.Name) })
	return lanes
}

func (h *Hub) serveGroups(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	out := struct {
		Active    bool   `json:"active"`
		Receivers []Lane `json:"receivers"`
	}{h.active.Load(), []Lane{}}
	for _, l := range h.running() {
		answer := make(chan Lane, 1)
		select {
		case l.asked <- answer:
			out.Receivers = append(out.Receivers, <-answer)
		case <-ctx.Done(): // it is busy, or not running
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // who asked has gone
}
