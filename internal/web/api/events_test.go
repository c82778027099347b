// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
)

type event struct{ id, name, data string }

// listen opens /v1/events and returns a function that waits for the next event.
func listen(t *testing.T, url, after string) (next func() event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", after)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	if ct := r.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Fatalf("content type %s", ct)
	}
	lines := bufio.NewScanner(r.Body)
	return func() (e event) {
		t.Helper()
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					return e
				}
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return e
	}
}

func TestEvents(t *testing.T) {
	b := newBoard()
	s := serve(t, b)
	all, some := listen(t, s.URL+"/v1/events", ""), listen(t, s.URL+"/v1/events?node=node-b", "")
	for _, next := range []func() event{all, some} {
		if e := next(); e.name != "problem" || e.data != `{"problem":""}` {
			t.Fatalf("began with %+v", e)
		}
	}
	b.Add(sample(10), 0)
	b.SetStatus(nodestatus.Status{Node: "node-a", Time: time.Now()}, time.Now())
	first := all()
	i, err := incident.UnmarshalCloudEvent([]byte(first.data))
	if first.name != "incident" || err != nil || i.ID != sample(10).ID {
		t.Errorf("got %+v, %v", first, err)
	}
	if e := all(); e.name != "node" || !strings.HasPrefix(e.data, `{"state":"ok","ready":true,`) {
		t.Errorf("got %+v", e)
	}
	if e := some(); e.name != "node" {
		t.Errorf("the filter let through %+v", e)
	}
	b.Add(sample(11), 0)
	resumed := listen(t, s.URL+"/v1/events", first.id)
	resumed()
	if e := resumed(); e.name != "incident" || !strings.Contains(e.data, sample(11).ID) {
		t.Errorf("resumed with %+v", e)
	}
	b.Loaded()
	if e := resumed(); e.name != "restart" {
		t.Errorf("got %+v", e)
	}
	other := listen(t, s.URL+"/v1/events", "other-1")
	other()
	if e := other(); e.name != "restart" {
		t.Errorf("resumed another's with %+v", e)
	}
}

// Who wants to know only that there were changes hears how many, once a second at
// most.
func TestChanges(t *testing.T) {
	b := newBoard()
	s := serve(t, b)
	next := listen(t, s.URL+"/v1/events?tell=changes&node=node-a", "")
	next()
	const incidents, nodes = 300, 40
	began := time.Now()
	for n := range incidents {
		b.Add(sample(100+n), 0)
	}
	for n := range nodes {
		b.SetStatus(nodestatus.Status{Node: "node-b", Time: time.Unix(int64(n), 0)}, time.Now())
	}
	other := sample(1000)
	other.Node, other.ID = "node-b", other.NewID(1)
	b.Add(other, 0) // the filter leaves it out
	var told struct{ Incidents, Nodes int }
	last, events := event{}, 0
	for told.Incidents < incidents || told.Nodes < nodes {
		last = next()
		var more struct{ Incidents, Nodes int }
		if err := json.Unmarshal([]byte(last.data), &more); err != nil || last.name != "changed" {
			t.Fatalf("got %+v, %v", last, err)
		}
		told.Incidents, told.Nodes, events = told.Incidents+more.Incidents, told.Nodes+more.Nodes, events+1
	}
	if told.Incidents != incidents || told.Nodes != nodes {
		t.Errorf("told of %+v", told)
	}
	if most := 1 + int(time.Since(began)/time.Second); events > most {
		t.Errorf("%d events, at most %d were due", events, most)
	}
	b.Add(sample(2000), 0)
	resumed := listen(t, s.URL+"/v1/events?tell=changes&node=node-a", last.id)
	resumed()
	if e := resumed(); e.name != "changed" || e.data != `{"incidents":1,"nodes":0}` {
		t.Errorf("resumed with %+v", e)
	}
	if status, _ := get(t, s.URL+"/v1/events?tell=little"); status != http.StatusBadRequest {
		t.Errorf("a wrong value: status %d", status)
	}
}

// A reader that does not read is told so at the end of what it has not read.
func TestSlowReaderIsDropped(t *testing.T) {
	b := newBoard()
	next := listen(t, serve(t, b).URL+"/v1/events", "")
	next()
	deadline := time.Now().Add(time.Minute)
	for n := 100; ; n++ {
		b.Add(sample(n), 0)
		if n%1000 == 0 && time.Now().After(deadline) {
			t.Fatal("not dropped")
		}
		if n > 20000 {
			break
		}
	}
	for {
		if e := next(); e.name == "dropped" {
			return
		}
	}
}
