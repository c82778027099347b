// SPDX-License-Identifier: Apache-2.0

package alertmanager_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/sinks/alertmanager"
	"github.com/renat-project/renat/sinks/notification"
	"github.com/renat-project/renat/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(_ *testing.T, url string, client *http.Client) (notification.Destination, []string) {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return alertmanager.New(alertmanager.Config{
			URLs: []string{url + "/VerySecretPath/"}, Client: client,
			Authorization: func() (string, error) { return "Bearer VerySecretToken", nil },
		}), []string{"VerySecret"}
	}, func(http.ResponseWriter, *http.Request) {})
}

func TestAlert(t *testing.T) {
	var got []struct {
		Labels, Annotations map[string]string
		StartsAt, EndsAt    time.Time
		GeneratorURL        string
	}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/am/api/v2/alerts" {
			t.Errorf("posted to %s", r.URL.Path)
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	a := alertmanager.New(alertmanager.Config{
		URLs: []string{down.URL, server.URL + "/am"}, Client: server.Client(),
		Labels: map[string]string{"severity": "warning", "alertname": "mine"}, Lifetime: 10 * time.Minute,
	})
	n := notification.Sample("ops", time.Now().Add(-time.Hour))
	n.Link = "https://renat.example/incidents"
	if err := a.Send(t.Context(), n); err != nil {
		t.Fatalf("one of two took it: %v", err)
	}
	if n.Untaken == nil || !strings.Contains(n.Untaken.Error(), down.URL) {
		t.Errorf("of the one that did not: %v", n.Untaken)
	}
	if len(got) != 1 {
		t.Fatalf("%d alerts", len(got))
	}
	alert := got[0]
	for k, want := range map[string]string{"alertname": "RenatConnectionsBroken", "severity": "warning", "node": "test-node", "test": "true"} {
		if alert.Labels[k] != want {
			t.Errorf("label %s is %q, want %q", k, alert.Labels[k], want)
		}
	}
	for k, v := range alert.Labels {
		if v == n.Incidents[0].ID {
			t.Errorf("the incident's id is in label %s", k)
		}
	}
	for k, want := range map[string]string{
		"incident": n.Incidents[0].ID, "summary": n.Title, "action": "kubectl renat advise", "link": n.Link,
		"runbook_url": "https://github.com/renat-project/renat/blob/main/docs/runbooks/RenatEvictionsBreakConnections.md",
	} {
		if alert.Annotations[k] != want {
			t.Errorf("annotation %s is %q, want %q", k, alert.Annotations[k], want)
		}
	}
	since := "Since " + n.Group.First.UTC().Format("2006-01-02 15:04:05 UTC") + "; 1 in all"
	if d := alert.Annotations["description"]; !strings.Contains(d, since) || !strings.Contains(d, "\nRun: kubectl renat advise\n") || alert.GeneratorURL != n.Link {
		t.Errorf("description %q, generator %q", d, alert.GeneratorURL)
	}
	if d := time.Until(alert.EndsAt); d < 9*time.Minute || d > 10*time.Minute || !alert.StartsAt.Equal(n.Group.Began) {
		t.Errorf("it lasts from %s for %s", alert.StartsAt, d)
	}
	if a.RefreshEvery()*2 > 10*time.Minute {
		t.Errorf("refreshed every %s", a.RefreshEvery())
	}
}

// An alert without a severity of its own has that of the chart's rules.
func TestSeverity(t *testing.T) {
	n := notification.Sample("ops", time.Now())
	if l := alertmanager.Labels(n, nil); l["severity"] != "warning" {
		t.Errorf("labels %v", l)
	}
	if l := alertmanager.Labels(n, map[string]string{"severity": "page"}); l["severity"] != "page" {
		t.Errorf("labels %v", l)
	}
}
