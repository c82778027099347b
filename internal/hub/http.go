// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/page"
)

// answerWithin is how long a lane may take to describe itself.
const answerWithin = time.Second

// Handler serves /metrics, /healthz (the process is in order), /readyz (it is
// connected to NATS and, if it is the active one, all receivers get on, else it
// sees that another one is) and /status (a nodestatus.Hub, which names no more than
// the metrics do); and, to whom Config.Access lets in, /v1/groups, the API and the page.
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
	mux.HandleFunc("GET /status", h.serveStatus)
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
	if h.config.Load == nil {
		return true, ""
	}
	if why := h.standing.why(); why != "" {
		return false, "can neither become active nor see that another hub is: " + why
	}
	for _, l := range h.running() {
		if why := l.trouble.why(); why != "" {
			return false, "receiver " + l.receiver.Name + ": " + why
		}
	}
	return true, ""
}

// trouble is why something does not get on. It is safe for concurrent use; the
// zero value says that it does.
type trouble struct{ text atomic.Value }

// set notes the trouble, nil that there is none.
func (t *trouble) set(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	t.text.Store(text)
}

func (t *trouble) why() string {
	text, _ := t.text.Load().(string)
	return text
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

// describe asks the lanes how they are; one that is busy, or not running, is
// left out when ctx ends.
func (h *Hub) describe(ctx context.Context) []Lane {
	all := []Lane{}
	for _, l := range h.running() {
		answer := make(chan Lane, 1)
		select {
		case l.asked <- answer:
			all = append(all, <-answer)
		case <-ctx.Done():
		}
	}
	return all
}

func (h *Hub) serveGroups(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	out := struct {
		Active    bool   `json:"active"`
		Receivers []Lane `json:"receivers"`
	}{h.active.Load(), h.describe(ctx)}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // who asked has gone
}
