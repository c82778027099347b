// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/view/fleet"
)

// TestClientAsksTheAgent reads what renat enrich needs: incidents that are
// there, those that come, and mappings.
func TestClientAsksTheAgent(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.awaitReady()
	n.breakAll(t.Context(), 0, 3)
	n.awaitForwarded(3)
	c, err := fleet.NewHTTPAgent(n.http)
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	if err := c.All(t.Context(), func(*incident.Incident) { known++ }); err != nil || known != 3 {
		t.Errorf("%d incidents, %v", known, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ids := make(chan string, 100)
	go c.Follow(ctx, func(i *incident.Incident) { ids <- i.ID }, func(err error) { t.Error(err) })
	seen := map[string]bool{}
	await := func(want int) {
		t.Helper()
		for patience := time.After(patience); len(seen) < want; {
			select {
			case id := <-ids:
				seen[id] = true
			case <-patience:
				t.Fatalf("%d of %d incidents came", len(seen), want)
			}
		}
	}
	await(3)
	n.breakAll(t.Context(), 3, 5)
	await(5)

	one := connectionOf(0)
	pod, server := one.pod.String(), one.server.String()
	if to, ok, err := c.Mapping(t.Context(), "TCP", pod, server, "OUT"); err != nil || !ok || to != one.after {
		t.Errorf("mapping %v, %v, %v", to, ok, err)
	}
	if to, ok, err := c.Mapping(t.Context(), "TCP", server, pod, "OUT"); err != nil || ok {
		t.Errorf("mapping of no connection %v, %v, %v", to, ok, err)
	}
	for _, wrong := range []string{"source=nonsense&destination=x", "source=10.0.0.1:1&destination=192.0.2.1:2&direction=up"} {
		resp, err := http.Get(n.http + "/v1/mapping?protocol=TCP&" + wrong)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s gives %s", wrong, resp.Status)
		}
	}
}

func TestClientRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "127.0.0.1:9969", "ftp://x", "http://"} {
		if _, err := fleet.NewHTTPAgent(url); err == nil {
			t.Errorf("%q is a URL", url)
		}
	}
	c, err := fleet.NewHTTPAgent("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.All(t.Context(), nil); err == nil {
		t.Error("no error without a server")
	}
}
