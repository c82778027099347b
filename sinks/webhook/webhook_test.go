// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/notification"
	"github.com/renat-project/renat/sinks/sinktest"
	"github.com/renat-project/renat/sinks/webhook"
)

const (
	current = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	before  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

func text(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func TestConformance(t *testing.T) {
	for _, format := range []webhook.Format{webhook.Renat, webhook.Alertmanager} {
		t.Run(string(format), func(t *testing.T) {
			sinktest.Run(t, func(_ *testing.T, url string, client *http.Client) (notification.Destination, []string) {
				client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				return webhook.New(webhook.Config{
					URL: text(url + "/hooks/VerySecretPath?token=VerySecretToken"), Format: format, Client: client,
					Secrets: []func() (string, error){text(current)},
				}), []string{"VerySecret", current, strings.TrimPrefix(current, "whsec_")}
			}, func(http.ResponseWriter, *http.Request) {})
		})
	}
}

// The signature is checked as the specification says, not with our code.
func TestStandardWebhooks(t *testing.T) {
	var header http.Header
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	w := webhook.New(webhook.Config{
		URL: text(server.URL), Client: server.Client(), Secrets: []func() (string, error){text(current), text(before)},
	})
	n := notification.Sample("ops", time.Now())
	if err := w.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if header.Get("webhook-id") != n.ID || header.Get("content-type") != "application/json" {
		t.Errorf("headers %v", header)
	}
	signatures := strings.Split(header.Get("webhook-signature"), " ")
	if len(signatures) != 2 {
		t.Fatalf("signatures %q", signatures)
	}
	for i, secret := range []string{current, before} {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			t.Fatal(err)
		}
		m := hmac.New(sha256.New, key)
		m.Write([]byte(n.ID + "." + header.Get("webhook-timestamp") + "." + string(body)))
		if want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); signatures[i] != want {
			t.Errorf("signature %d is %s, want %s", i, signatures[i], want)
		}
	}
	var got struct {
		Type      string
		Timestamp time.Time
		Data      notification.Notification
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != notification.Type || !got.Timestamp.Equal(n.At) || got.Data.ID != n.ID || got.Data.Incidents[0].Incident.NAT.After == "" {
		t.Errorf("body %s", body)
	}
}

func TestKey(t *testing.T) {
	for _, s := range []string{"", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "opensesame"} {
		if _, err := webhook.Key(s); err == nil || s != "" && s != "whsec_" && strings.Contains(err.Error(), s) {
			t.Errorf("Key(%q) = %v", s, err)
		}
	}
}

// Each alert of the version 4 shape has the annotations that receivers show, and
// the common ones are those which all alerts have.
func TestAnnotationsOfAlerts(t *testing.T) {
	var got struct {
		CommonLabels, CommonAnnotations map[string]string
		Alerts                          []struct{ Labels, Annotations map[string]string }
	}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	w := webhook.New(webhook.Config{URL: text(server.URL), Client: server.Client(), Format: webhook.Alertmanager})
	n := notification.Sample("ops", time.Now())
	other := *n.Incidents[0].Incident
	other.Outcome, other.NAT.After = incident.Unconfirmed, "203.0.113.5:52222"
	n.Incidents = append(n.Incidents, notification.Item{ID: "0b", Sequence: 2, Incident: &other})
	if err := w.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if len(got.Alerts) != 2 {
		t.Fatalf("%d alerts", len(got.Alerts))
	}
	for k, a := range got.Alerts {
		if a.Annotations["summary"] != n.Title || !strings.HasPrefix(a.Annotations["description"], n.Text) || a.Annotations["incident"] != n.Incidents[k].ID {
			t.Errorf("annotations %v", a.Annotations)
		}
		for name, value := range got.CommonAnnotations {
			if a.Annotations[name] != value {
				t.Errorf("annotation %s is common and not in alert %d", name, k)
			}
		}
	}
	c := got.CommonAnnotations
	if c["summary"] == "" || c["description"] == "" || c["nat_before"] == "" || c["nat_after"] != "" || c["incident"] != "" {
		t.Errorf("common annotations %v", c)
	}
	if l := got.CommonLabels; l["kind"] != "renat" || l["outcome"] != "" || l["severity"] == "" {
		t.Errorf("common labels %v", l)
	}
}
