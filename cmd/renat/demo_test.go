// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/usage"
)

// The demo's page has the recording's incidents as of now and its node, and
// renat observe works beside it.
func TestDemo(t *testing.T) {
	t.Setenv("RENAT_LISTEN", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errs, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, streams{out: io.Discard, err: w}, []string{"hub", "--demo", recordings[0]})
		w.Close()
	}()
	urls := map[string]string{}
	lines := bufio.NewScanner(errs)
	for len(urls) < 2 && lines.Scan() {
		if m := regexp.MustCompile(`(http|nats)://127.0.0.1:\d+`).FindStringSubmatch(lines.Text()); m != nil {
			urls[m[1]] = m[0]
		}
	}
	if len(urls) < 2 {
		t.Fatalf("it said %v", urls)
	}
	go func() {
		for lines.Scan() {
		}
	}()
	found := renat(t, "observe", "--nats-url", urls["nats"], "--since", "5m", "-o", "json").must(t).incidents(t)
	if len(found) != 30 {
		t.Errorf("%d incidents of the last minutes", len(found))
	}
	ids := map[string]bool{}
	for _, i := range found {
		ids[i.ID] = true
		if i.NAT.RemovedAt.After(i.Time) || len(i.Evidence) == 0 || time.Since(i.Evidence[0].Time) > 5*time.Minute {
			t.Errorf("incident %s has evidence of another time", i.ID)
		}
	}
	if len(ids) != 30 || ids["142cbfffeea5011cef4b1ee4f65d5c61"] {
		t.Errorf("%d ids, which must differ from those of then", len(ids))
	}
	get := func(path string, into any) {
		t.Helper()
		res, err := http.Get(urls["http"] + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	var nodes struct {
		Nodes []struct {
			State  nodestatus.State
			Status nodestatus.Status
		}
	}
	var summary struct{ Total int }
	for deadline := time.Now().Add(20 * time.Second); ; {
		get("/v1/nodes", &nodes)
		get("/v1/summary?since=1h", &summary)
		if len(nodes.Nodes) == 1 && summary.Total == 30 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the page has %d incidents of %d nodes", summary.Total, len(nodes.Nodes))
		}
		time.Sleep(50 * time.Millisecond)
	}
	n := nodes.Nodes[0]
	if n.State != nodestatus.Breaking || n.Status.Node != "node-a" || n.Status.Incidents.LastTen != 30 || len(n.Status.Maps) != 1 ||
		n.Status.Maps[0].Evictions == 0 || n.Status.Maps[0].LastTenMinutes.Evictions < 1 || n.Status.Maps[0].MaxEntries != 512 {
		t.Errorf("the node: %+v", n)
	}
	cancel()
	if got := <-code; got != usage.Done {
		t.Errorf("exit code %d", got)
	}
}

func TestDemoUsage(t *testing.T) {
	if got := renat(t, "hub", "--demo", t.TempDir(), "--listen", "127.0.0.1:0"); got.code != usage.Failed {
		t.Errorf("without a recording: %d, %s", got.code, got.err)
	}
	if got := renat(t, "hub", "--demo", "x", "--nats-url", "nats://127.0.0.1:1"); got.code != usage.Wrong {
		t.Errorf("with a NATS: %d, %s", got.code, got.err)
	}
}
