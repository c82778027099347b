// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/sinks/kubernetes"
	"github.com/renat-project/renat/sinks/notification"
	"github.com/renat-project/renat/sinks/sinktest"
)

const token = "VerySecretToken"

func destination(url string, client *http.Client) *kubernetes.Kubernetes {
	return kubernetes.New(kubernetes.Config{URL: url, Client: client, Token: func() (string, error) { return token, nil }})
}

const podThere = `{"kind":"Pod","metadata":{"name":"sample-0","namespace":"test","uid":"u-1"},"status":{"podIPs":[{"ip":"fd00::7"},{"ip":"198.51.100.7"}]}}`

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(_ *testing.T, url string, client *http.Client) (notification.Destination, []string) {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return destination(url, client), []string{token}
	}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, podThere) })
}

// api is what the API server answers: to the question for the pod, and to a new
// Event.
type api struct {
	pod, event int // statuses
	body       string
	refusal    string // of the Event
	made       []map[string]any
	names      []string
	queries    []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/") && strings.Contains(r.URL.Path, "/pods/"):
		w.WriteHeader(a.pod)
		fmt.Fprint(w, a.body)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/events"):
		var e map[string]any
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			panic(err)
		}
		meta := e["metadata"].(map[string]any)
		if r.URL.Path != fmt.Sprintf("/api/v1/namespaces/%s/events", meta["namespace"]) {
			panic(r.URL.Path)
		}
		a.made, a.names, a.queries = append(a.made, e), append(a.names, meta["name"].(string)), append(a.queries, r.URL.RawQuery)
		w.WriteHeader(a.event)
		fmt.Fprint(w, cmp.Or(a.refusal, `{"kind":"Status"}`))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// sample is a notification of a pod's.
func sample() *notification.Notification {
	n := notification.Sample("pods", time.Date(2026, 11, 22, 22, 49, 56, 7, time.UTC))
	n.Reason, n.Title, n.Link, n.Count, n.Group.Total = notification.Update, "3 connections broken to api.example.com:443", "https://renat.example/incidents", 2, 3
	n.Group.Labels = map[string]string{"cluster": "test-cluster", "namespace": "test", "pod": "sample-0"}
	return n
}

func TestEvent(t *testing.T) {
	a := &api{pod: 200, event: 201, body: podThere}
	server := httptest.NewServer(a)
	defer server.Close()
	d := destination(server.URL, server.Client())
	n := sample()
	for range 2 { // the second is the same notification again
		if err := d.Send(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		a.event = http.StatusConflict
	}
	e := a.made[0]
	if got := fmt.Sprint(e["involvedObject"]); got != "map[apiVersion:v1 kind:Pod name:sample-0 namespace:test uid:u-1]" {
		t.Errorf("it is on %s", got)
	}
	if e["type"] != "Warning" || e["reason"] != "ConnectionsBroken" || e["count"] != 2.0 || e["firstTimestamp"] != "2026-11-22T22:49:56Z" {
		t.Errorf("got %v", e)
	}
	message := e["message"].(string)
	for _, want := range []string{"3 connections broken to api.example.com:443. Since 2026-11-22 22:49:56 UTC", "incident " + n.Group.Incident, n.Verdict.Action, n.Link} {
		if !strings.Contains(message, want) {
			t.Errorf("no %q in %q", want, message)
		}
	}
	if len(a.names) != 2 || a.names[0] != a.names[1] || !strings.HasPrefix(a.names[0], "sample-0.") {
		t.Errorf("names %v", a.names)
	}
	n.ID = "another"
	if err := d.Send(t.Context(), n); err != nil || a.names[2] == a.names[0] {
		t.Errorf("another notification: %v, %v", a.names, err)
	}
}

// What a pod's name, or a title, may be at its longest, the API server takes.
func TestEventIsBounded(t *testing.T) {
	a := &api{pod: 200, event: 201, body: podThere}
	server := httptest.NewServer(a)
	defer server.Close()
	n := sample()
	n.Group.Labels["pod"] = strings.Repeat("a.-", 84)
	n.Title = strings.Repeat("ü", 1000)
	if err := destination(server.URL, server.Client()).Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if len(a.names[0]) > 253 || strings.Contains(a.names[0], "-.") || strings.ContainsAny(a.names[0], "…") || len(a.made[0]["message"].(string)) > 1024 {
		t.Errorf("name %q, message of %d bytes", a.names[0], len(a.made[0]["message"].(string)))
	}
}

// Pods that are gone, or others', or unknown, get none, and that is no failure.
func TestNoEvent(t *testing.T) {
	for name, a := range map[string]*api{
		"gone":       {pod: 404, body: `{"kind":"Status","reason":"NotFound"}`},
		"another's":  {pod: 200, body: strings.ReplaceAll(podThere, "198.51.100.7", "198.51.100.8")},
		"no address": {pod: 200, body: `{"kind":"Pod","metadata":{"uid":"u-1"}}`},
		"unknown":    {pod: 500},
	} {
		server := httptest.NewServer(a)
		n := sample()
		if name == "unknown" {
			n.Group.Labels["pod"] = ""
		}
		if err := destination(server.URL, server.Client()).Send(t.Context(), n); err != nil || len(a.made) != 0 {
			t.Errorf("%s: %v, %v", name, err, a.made)
		}
		server.Close()
	}
}

// A namespace that ends takes nothing new, and its pods end, too.
func TestNoEventWhereTheNamespaceEnds(t *testing.T) {
	a := &api{pod: 200, event: 403, body: podThere, refusal: `{"kind":"Status","status":"Failure","message":"events \"p\" is forbidden: unable to create new content in namespace test because it is being terminated",` +
		`"reason":"Forbidden","details":{"name":"p","kind":"events","causes":[{"reason":"NamespaceTerminating","message":"namespace test is being terminated","field":"metadata.namespace"}]},"code":403}`}
	server := httptest.NewServer(a)
	defer server.Close()
	d := destination(server.URL, server.Client())
	if err := d.Send(t.Context(), sample()); err != nil || len(a.made) != 1 {
		t.Errorf("%v, tried %d", err, len(a.made))
	}
	a.refusal = `{"kind":"Status","message":"admission webhook \"x\" denied the request","reason":"Forbidden","code":403}`
	if err := d.Send(t.Context(), sample()); err == nil || err.Error() != `the API server answered 403 Forbidden: admission webhook "x" denied the request` {
		t.Errorf("denied by a webhook: %v", err)
	}
}

// A test makes nothing, and finds out whether it could.
func TestSampleIsTriedOnly(t *testing.T) {
	a := &api{pod: 404, event: 201, body: `{"kind":"Status","reason":"NotFound"}`}
	server := httptest.NewServer(a)
	defer server.Close()
	d := destination(server.URL, server.Client())
	if err := d.Send(t.Context(), notification.Sample("pods", time.Now())); err != nil || !slices.Equal(a.queries, []string{"dryRun=All"}) {
		t.Errorf("%v, asked %v", err, a.queries)
	}
	a.pod, a.body = 403, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"renat-test\" is forbidden: User \"system:serviceaccount:renat:renat-hub\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\"","reason":"Forbidden","code":403}`
	want := `the API server answered 403 Forbidden: pods "renat-test" is forbidden: User "system:serviceaccount:renat:renat-hub" cannot get resource "pods" in API group "" in the namespace "default": ` +
		"it needs the rights to get pods and to create events in all namespaces, which the chart gives with hub.kubernetesEvents"
	if err := d.Send(t.Context(), notification.Sample("pods", time.Now())); err == nil || !notification.Permanent(err) || err.Error() != want {
		t.Errorf("without the right: %v", err)
	}
}
