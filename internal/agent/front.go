// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/http"
	"sync/atomic"
)

// front answers HTTP from the moment that the port is open: until the agent has
// its parts, which with a full outbox takes seconds, it says that it starts.
type front struct{ behind atomic.Pointer[http.Handler] }

// use has h answer from now on.
func (f *front) use(h http.Handler) { f.behind.Store(&h) }

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := f.behind.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	if r.URL.Path == "/healthz" {
		fmt.Fprintln(w, "ok")
		return
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "starting: opening the outbox and NATS", http.StatusServiceUnavailable)
}
