// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/renat-project/renat/internal/agent/tracing"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/kprobes"
)

func newTracing(c *Config, clk *clock) *tracing.Hub {
	return tracing.New(tracing.Config{
		Node: c.Node, Trace: c.Trace, OfKernel: clk.ofKernel, OfWall: clk.ofWall, Now: clk.now, Wall: clk.wall,
	})
}

// serveTrace streams a trace, a line of JSON for each thing that happens, until
// who asked goes.
func (a *agent) serveTrace(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, title string, err error) {
		api.Refuse(w, &api.Problem{Title: title, Status: status, Detail: err.Error()})
	}
	if a.config.Trace == nil {
		refuse(http.StatusNotImplemented, "no traces", errors.New("this agent cannot trace"))
		return
	}
	q, err := tracing.ParseQuery(r.URL.Query())
	if err != nil {
		refuse(http.StatusBadRequest, "wrong parameter", err)
		return
	}
	flush := http.NewResponseController(w).Flush
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	begun := false
	err = a.tracing.Run(r.Context(), q, func(all []nodestatus.TraceLine) error {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			a.log.Info().Str("query", r.URL.RawQuery).Msg("a trace begins")
		}
		for i := range all {
			if err := lines.Encode(&all[i]); err != nil {
				return err
			}
		}
		return flush()
	})
	switch {
	case begun:
		a.log.Info().Str("query", r.URL.RawQuery).Msg("a trace ended")
	case errors.Is(err, kprobes.ErrTraces):
		refuse(http.StatusTooManyRequests, "too many traces", err)
	case err != nil:
		refuse(http.StatusServiceUnavailable, "the kernel cannot be asked", err)
	}
}
