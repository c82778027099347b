// SPDX-License-Identifier: Apache-2.0

// Package alertmanager posts notifications to Prometheus Alertmanager, a group
// being one alert: silences, routes and inhibition are those of Alertmanager.
//
// An alert lives for Config.Lifetime after it was last posted; a group that is
// alive is posted again in time (RefreshEvery). With several servers each is
// posted to, as they do not exchange alerts; one that takes it is enough.
//
// An Alertmanager is safe for concurrent use.
package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/renat-project/renat/sinks/notification"
)

const (
	// DefaultLifetime of an alert. It must outlast Alertmanager's group_wait
	// (30 seconds by default): an alert that has ended by then is never sent.
	DefaultLifetime = 5 * time.Minute
	// MinLifetime is twice the default group_wait.
	MinLifetime = time.Minute

	alertName = "RenatConnectionsBroken"
	// defaultSeverity is that of alerts whose Config.Labels name none: that of
	// the rules which the chart has.
	defaultSeverity = "warning"
)

// Config is what an Alertmanager needs.
type Config struct {
	// URLs of the servers, without /api/v2/alerts.
	URLs []string
	// Authorization returns the value of that header; nil: there is none.
	Authorization func() (string, error)
	// Labels are added to every alert.
	Labels map[string]string
	// Lifetime of an alert after it was last posted, at least MinLifetime;
	// 0: DefaultLifetime.
	Lifetime time.Duration
	Client   *http.Client
}

// Alertmanager is a notification.Destination and a notification.Refresher.
type Alertmanager struct{ config Config }

// New returns a destination.
func New(c Config) *Alertmanager {
	if c.Lifetime == 0 {
		c.Lifetime = DefaultLifetime
	}
	c.Lifetime = max(c.Lifetime, MinLifetime)
	return &Alertmanager{c}
}

// RefreshEvery implements notification.Refresher: two may get lost.
func (a *Alertmanager) RefreshEvery() time.Duration { return a.config.Lifetime / 3 }

type postableAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Send posts n to every server. When none takes it, the error is that of all;
// trying again is of use if it is for one of them. When some do, n.Untaken says
// what is wrong with the others.
func (a *Alertmanager) Send(ctx context.Context, n *notification.Notification) error {
	body, err := json.Marshal([]postableAlert{{
		Labels: Labels(n, a.config.Labels), Annotations: Annotations(n),
		StartsAt: n.Group.Began, EndsAt: time.Now().Add(a.config.Lifetime), GeneratorURL: n.Link,
	}})
	if err != nil {
		return notification.Refuse(fmt.Errorf("encoding alert %s: %w", n.ID, err))
	}
	h := http.Header{"Content-Type": {"application/json"}}
	var secrets []string
	if a.config.Authorization != nil {
		value, err := a.config.Authorization()
		if err != nil {
			return &notification.Error{Err: err}
		}
		h.Set("Authorization", value)
		_, bare, _ := strings.Cut(value, " ")
		secrets = append(secrets, value, bare)
	}
	errs := make([]error, len(a.config.URLs))
	var posts sync.WaitGroup
	for i, u := range a.config.URLs {
		posts.Go(func() {
			_, errs[i] = notification.Post(ctx, a.config.Client, strings.TrimSuffix(u, "/")+"/api/v2/alerts", h, body, secrets...)
		})
	}
	posts.Wait()
	if err := anyTook(errs); err != nil {
		return err
	}
	n.Untaken = errors.Join(errs...)
	return nil
}

// anyTook returns nil if one of errs is, else all of them as one.
func anyTook(errs []error) error {
	all := &notification.Error{Refused: true, Gone: true, Err: errors.Join(errs...)}
	for _, err := range errs {
		if err == nil {
			return nil
		}
		all.Refused = all.Refused && notification.Permanent(err)
		all.Gone = all.Gone && notification.Gone(err)
		all.After = max(all.After, notification.RetryAfter(err))
	}
	return all
}

// Labels are those of a group's alert; add are more, which come second.
func Labels(n *notification.Notification, add map[string]string) map[string]string {
	labels := maps.Clone(add)
	if labels == nil {
		labels = map[string]string{}
	}
	for k, v := range n.Group.Labels {
		if v != "" { // Alertmanager takes an empty label for none
			labels[k] = v
		}
	}
	labels["alertname"] = alertName
	if labels["severity"] == "" {
		labels["severity"] = defaultSeverity
	}
	if n.Reason == notification.Test {
		labels["test"] = "true"
	}
	return labels
}

// Annotations say of a group what may change while it lasts.
func Annotations(n *notification.Notification) map[string]string {
	a := map[string]string{
		"summary":     n.Title,
		"description": strings.TrimSpace(n.Text + "\n" + n.Since() + "\n" + n.Next()),
		"incidents":   strconv.Itoa(n.Group.Total),
		"fetch":       fmt.Sprintf("stream %s, subject %s, sequences %d to %d", n.Fetch.Stream, n.Fetch.Subject, n.Fetch.First, n.Fetch.Last),
		"receiver":    n.Receiver,
	}
	for name, value := range map[string]string{
		"incident": n.Group.Incident, "link": n.Link, "action": n.Verdict.Action, "runbook_url": n.Verdict.Runbook,
	} {
		if value != "" {
			a[name] = value
		}
	}
	return a
}
