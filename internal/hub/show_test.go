// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
)

// total returns what /v1/incidents says: how many there are, and the problem.
func total(t *testing.T, body string) (n int, problem string) {
	t.Helper()
	var list struct {
		Total   int
		Problem string
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return list.Total, list.Problem
}

// The page shows what was stored before and what comes, through an outage.
func TestPageShowsTheStream(t *testing.T) {
	t.Parallel()
	options := &natsserver.Options{}
	server := startNATS(t, options)
	nc := connect(t, server.ClientURL())
	ids := publish(t, nc, sample(1, 1), sample(1, 2))
	h, _ := start(t, nc, "a", newReceiver(t).yaml("ops"))
	has := func(want int, because string) func() bool {
		return func() bool {
			n, problem := total(t, get(t, h, "/v1/incidents"))
			return n == want && strings.Contains(problem, because) == (problem != "")
		}
	}
	eventually(t, 10*time.Second, "the stored incidents", has(2, "none"))
	publish(t, nc, sample(2, 3))
	eventually(t, 5*time.Second, "a new incident", has(3, "none"))
	eventually(t, 20*time.Second, "the evidence", func() bool { return strings.Contains(get(t, h, "/v1/incidents/"+ids[0]), `"what":"evict OUT"`) })
	nodes, err := jetstream.OpenNodes(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes.Put(t.Context(), "", "node-a", &nodestatus.Status{Version: nodestatus.Version, Node: "node-a", Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the node", func() bool { return strings.Contains(get(t, h, "/v1/nodes"), `"node":"node-a"`) })

	server.Shutdown()
	server.WaitForShutdown()
	eventually(t, 5*time.Second, "the problem", has(3, "NATS is away"))
	eventually(t, 20*time.Second, "an incident without its evidence", func() bool { return strings.Contains(get(t, h, "/v1/incidents/"+ids[0]), "is away") })
}

func TestPageIsForThisMachine(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	h, _ := start(t, nc, "a", newReceiver(t).yaml("ops"))
	for path, want := range map[string]int{
		"/": http.StatusOK, "/incidents": http.StatusOK, "/healthz": http.StatusOK, "/metrics": http.StatusOK, "/status": http.StatusOK,
		"/v1/incidents": http.StatusForbidden, "/v1/groups": http.StatusForbidden, "/v1/events": http.StatusForbidden,
	} {
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s answers another machine with %d, want %d", path, w.Code, want)
		}
	}
}

// A hub with the page only does not look like one that waits to become active.
func TestPageOnlyIsNeverActive(t *testing.T) {
	t.Parallel()
	h, err := hub.New(hub.Config{NATS: connect(t, startNATS(t, &natsserver.Options{}).ClientURL())})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, h, "/metrics"); strings.Contains(got, "renat_hub_active") || !strings.Contains(got, "renat_build_info") {
		t.Errorf("/metrics serves %s", got)
	}
}
