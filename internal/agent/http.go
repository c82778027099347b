// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/page"
)

// maxConnections at a time, some 19 kB each: who reaches the port must not be
// able to fill the agent's memory. Probes, Prometheus and a few open pages need
// a handful.
const maxConnections = 512

// serve answers on l, if there is one, until ctx ends.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	if l == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	l = netutil.LimitListener(l, maxConnections)
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	return ctx.Err()
}

// handler serves /healthz (the process lives), /readyz (all parts are ready),
// /metrics and the page's files to all; /v1 and, if asked for, /debug/pprof to
// whom Access lets in.
func (a *agent) handler() http.Handler {
	mux, guarded := http.NewServeMux(), http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", a.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	mux.Handle("/", page.Handler())
	mux.Handle("/v1/", a.config.Access.Wrap(guarded))
	mux.Handle("/debug/", a.config.Access.Wrap(guarded))
	guarded.HandleFunc("GET /v1/status", a.serveStatus)
	guarded.HandleFunc("GET /v1/mapping", a.serveMapping)
	guarded.HandleFunc("GET /v1/top", a.serveTop)
	guarded.HandleFunc("GET /v1/at-risk", a.serveAtRisk)
	guarded.HandleFunc("GET /v1/trace", a.serveTrace)
	guarded.Handle("/v1/", api.New(api.Config{Board: a.board, Version: a.config.Version, Title: "node " + a.config.Node}))
	if a.config.Pprof {
		guarded.HandleFunc("/debug/pprof/", pprof.Index)
		guarded.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		guarded.HandleFunc("/debug/pprof/profile", pprof.Profile)
		guarded.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		guarded.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// serveReady tells of every part whether it is ready, one a line.
func (a *agent) serveReady(w http.ResponseWriter, _ *http.Request) {
	s := a.status()
	if !s.Ready() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, p := range s.Parts {
		state := "ready"
		if !p.Ready {
			state = "not ready: " + p.Problem
		}
		fmt.Fprintf(w, "%s: %s\n", p.Name, state)
	}
}

func (a *agent) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a.status()) // who asked has gone
}
