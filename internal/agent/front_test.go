// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestFront answers before the agent has its parts.
func TestFront(t *testing.T) {
	f := &front{}
	get := func(path string) int {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w.Code
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/v1/status": 503, "/": 503} {
		if got := get(path); got != want {
			t.Errorf("starting, %s: %d, want %d", path, got, want)
		}
	}
	f.use(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	if got := get("/readyz"); got != http.StatusTeapot {
		t.Errorf("started: %d", got)
	}
}
