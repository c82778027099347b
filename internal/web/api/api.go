// SPDX-License-Identifier: Apache-2.0

package api

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident/filter"
	"github.com/renat-project/renat/internal/web/board"
)

// Config is what an API serves.
type Config struct {
	Board *board.Board
	// Version of renat, and Title of what it serves: "node node-a", or "hub".
	Version, Title string
}

// API is the HTTP API. It is an http.Handler.
type API struct {
	config  Config
	mux     http.ServeMux
	hearing chan struct{} // a place for each listener of /v1/events
	advisor advisor
}

// maxListeners of /v1/events at a time: each page that is open is one.
const maxListeners = 256

//go:embed openapi.json
var openapi []byte

// New returns the API of a board.
func New(c Config) *API {
	a := &API{config: c, hearing: make(chan struct{}, maxListeners)}
	for _, r := range Routes {
		a.mux.HandleFunc("GET "+r.Path, func(w http.ResponseWriter, req *http.Request) {
			if err := r.check(req.URL.RawQuery); err != nil {
				Refuse(w, err)
				return
			}
			if err := r.serve(a, w, req); err != nil {
				Refuse(w, err)
			}
		})
	}
	a.mux.HandleFunc("/v1/", func(w http.ResponseWriter, req *http.Request) {
		Refuse(w, &Problem{Status: http.StatusNotFound, Title: "no such path", Detail: req.URL.Path + " is not in /v1/openapi.json"})
	})
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.mux.ServeHTTP(w, r)
}

// Problem is an error as the API tells it (RFC 9457).
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Parameter is the one that is wrong.
	Parameter string `json:"parameter,omitempty"`
}

// Error returns title and detail.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

func wrong(parameter, format string, args ...any) *Problem {
	return &Problem{Status: http.StatusBadRequest, Title: "wrong parameter", Detail: fmt.Sprintf(format, args...), Parameter: parameter}
}

// Refuse answers with an error.
func Refuse(w http.ResponseWriter, err error) {
	var p *Problem
	var f *filter.Error
	var alike *board.AlikeError
	switch {
	case errors.As(err, &p):
	case errors.As(err, &f):
		p = wrong(f.Param, "%v", f)
	case errors.Is(err, board.ErrCursor):
		p = wrong("cursor", "cursor is %v", err)
	case errors.Is(err, board.ErrUnknown):
		p = &Problem{Status: http.StatusNotFound, Title: "unknown incident",
			Detail: err.Error() + " that are kept here; renat observe shows all that NATS has stored"}
	case errors.As(err, &alike):
		p = &Problem{Status: http.StatusConflict, Title: "several incidents", Detail: err.Error()}
	case errors.Is(err, board.ErrGone):
		p = &Problem{Status: http.StatusGone, Title: "incident is gone", Detail: err.Error() + ": NATS has removed it"}
	default:
		p = &Problem{Status: http.StatusServiceUnavailable, Title: "source is away", Detail: err.Error()}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // who asked has gone
}

func reply(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // who asked has gone
	return nil
}

// maxValues a parameter may have: each is compared with every incident.
const maxValues = 64

// check refuses a query with a mistake, or a parameter that the route does not
// have: what is left out of a filter would choose everything.
func (r *Route) check(query string) error {
	q, err := url.ParseQuery(query)
	if err != nil {
		return &Problem{Status: http.StatusBadRequest, Title: "malformed query", Detail: err.Error()}
	}
	for name, values := range q {
		if len(values) > maxValues {
			return wrong(name, "%q is given %d times; at most %d", name, len(values), maxValues)
		}
		if !slices.ContainsFunc(r.Params, func(p Param) bool { return p.Name == name }) {
			var known []string
			for _, p := range r.Params {
				known = append(known, p.Name)
			}
			return wrong(name, "%q is not one of: %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

func chosen(r *http.Request) (filter.Filter, error) { return filter.Parse(r.URL.Query(), time.Now()) }

// number reads a whole number from low to high.
func number(q url.Values, name string, otherwise, low, high int) (int, error) {
	v := q.Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, wrong(name, "%s %q is not a number from %d to %d", name, v, low, high)
	}
	return n, nil
}
