// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/renat-project/renat/sinks/alertmanager"
	"github.com/renat-project/renat/sinks/kubernetes"
	"github.com/renat-project/renat/sinks/notification"
	"github.com/renat-project/renat/sinks/slack"
	"github.com/renat-project/renat/sinks/webhook"
)

// destination builds what the receiver sends to; nil when something is wrong.
func (c *checker) destination(r *receiver, timeout time.Duration) notification.Destination {
	before := len(c.errs)
	reach := r.HTTP
	if r.Events != nil && r.Events.APIURL == "" && reach.CAFile == "" {
		reach.CAFile = kubernetes.CAFile
	}
	client := c.client(&reach, timeout)
	kinds := 0
	var d notification.Destination
	if r.Webhook != nil {
		kinds++
		d = c.webhook(r.Webhook, client)
	}
	if r.Slack != nil {
		kinds++
		d = c.slack(r.Slack, client)
	}
	if r.Alertmanager != nil {
		kinds++
		d = c.alertmanager(r.Alertmanager, client)
	}
	if r.Events != nil {
		kinds++
		d = c.events(r, client)
	}
	if kinds != 1 {
		c.fail(errors.New("give a receiver one of webhook, slack, alertmanager and kubernetes_events"))
	}
	if len(c.errs) > before {
		return nil
	}
	return d
}

func refresh(d notification.Destination) time.Duration {
	if r, ok := d.(notification.Refresher); ok {
		return r.RefreshEvery()
	}
	return 0
}

func (c *checker) client(h *httpClient, timeout time.Duration) *http.Client {
	proxy := h.ProxyURL
	if h.ProxyFrom.set() {
		proxy, _ = c.secret(h.ProxyFrom, nil, "http", "proxy_url_from")
	}
	config := notification.ClientConfig{
		CA: within(c.Dir, h.CAFile), Cert: within(c.Dir, h.CertFile), Key: within(c.Dir, h.KeyFile), Proxy: proxy, Timeout: timeout,
	}
	if c.WithoutSecrets {
		config.CA, config.Cert, config.Key = "", "", ""
	}
	client, err := notification.Client(config)
	c.fail(err, "http")
	return client
}

// secret reads one, to see that it is there and right, and returns it and how to
// read it again.
func (c *checker) secret(s secret, right func(string) error, path ...any) (now string, again func() (string, error)) {
	s = s.in(c.Dir)
	again = func() (string, error) {
		v, err := s.value()
		if err == nil && right != nil {
			err = right(v)
		}
		return v, err
	}
	if c.WithoutSecrets {
		c.fail(s.where(), path...)
		return "", again
	}
	now, err := again()
	c.fail(err, path...)
	return now, again
}

func (c *checker) webhook(w *webhookDest, client *http.Client) notification.Destination {
	out := webhook.Config{Client: client, Format: webhook.Renat}
	switch {
	case w.URL != "" && !w.URLFrom.set():
		c.fail(checkURL(w.URL), "webhook", "url")
		out.URL = func() (string, error) { return w.URL, nil }
	case w.URL == "" && w.URLFrom.set():
		_, out.URL = c.secret(w.URLFrom, checkURL, "webhook", "url_from")
	default:
		c.fail(errors.New("give a webhook its url, or with url_from where it is"), "webhook")
	}
	switch f := webhook.Format(w.Format); f {
	case "":
	case webhook.Renat, webhook.Alertmanager:
		out.Format = f
	default:
		c.fail(fmt.Errorf("there is no format %q, only %s and %s", w.Format, webhook.Renat, webhook.Alertmanager), "webhook", "format")
	}
	for n, s := range w.Secrets {
		_, read := c.secret(s, func(v string) error { _, err := webhook.Key(v); return err }, "webhook", "secrets_from", n)
		out.Secrets = append(out.Secrets, read)
	}
	return webhook.New(out)
}

var channelShape = regexp.MustCompile(`^[A-Z0-9]{2,32}$`)

func (c *checker) slack(s *slackDest, client *http.Client) notification.Destination {
	out := slack.Config{Client: client, Channel: s.Channel, API: s.APIURL}
	if s.APIURL != "" {
		c.fail(checkURL(s.APIURL), "slack", "api_url")
	}
	switch {
	case s.WebhookFrom.set() && !s.TokenFrom.set():
		if s.Channel != "" {
			c.fail(errors.New("an incoming webhook has a channel of its own: leave channel out"), "slack", "channel")
		}
		_, out.Webhook = c.secret(s.WebhookFrom, checkURL, "slack", "webhook_url_from")
	case s.TokenFrom.set() && !s.WebhookFrom.set():
		_, out.Token = c.secret(s.TokenFrom, nil, "slack", "token_from")
		if !channelShape.MatchString(s.Channel) {
			c.fail(errors.New("give the channel's id, like C0123456789: it is in the channel's details in Slack"), "slack", "channel")
		}
	default:
		c.fail(errors.New("give slack either webhook_url_from, or token_from and channel"), "slack")
	}
	return slack.New(out)
}

var labelShape = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func (c *checker) alertmanager(a *alertmanagerDest, client *http.Client) notification.Destination {
	out := alertmanager.Config{Client: client, URLs: a.URLs, Labels: a.Labels, Lifetime: a.Lifetime}
	if len(a.URLs) == 0 {
		c.fail(errors.New("give the urls of alertmanager"), "alertmanager")
	}
	for n, u := range a.URLs {
		c.fail(checkURL(u), "alertmanager", "urls", n)
	}
	for name := range a.Labels {
		if !labelShape.MatchString(name) {
			c.fail(fmt.Errorf("%q is not the name of a label", name), "alertmanager", "labels", name)
		}
	}
	if a.Lifetime != 0 && (a.Lifetime < alertmanager.MinLifetime || a.Lifetime > 24*time.Hour) {
		c.fail(fmt.Errorf("an alert's lifetime is %s to 24h", alertmanager.MinLifetime), "alertmanager", "lifetime")
	}
	switch {
	case a.BearerFrom.set() && (a.PasswordFrom.set() || a.Username != ""):
		c.fail(errors.New("give either bearer_token_from, or username and password_from"), "alertmanager")
	case a.BearerFrom.set():
		_, read := c.secret(a.BearerFrom, nil, "alertmanager", "bearer_token_from")
		out.Authorization = func() (string, error) {
			v, err := read()
			return "Bearer " + v, err
		}
	case a.PasswordFrom.set() || a.Username != "":
		_, read := c.secret(a.PasswordFrom, nil, "alertmanager", "password_from")
		out.Authorization = func() (string, error) {
			v, err := read()
			return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+v)), err
		}
	}
	return alertmanager.New(out)
}

func (c *checker) events(r *receiver, client *http.Client) notification.Destination {
	e := *r.Events
	if r.GroupBy != nil && (!slices.Contains(r.GroupBy, "namespace") || !slices.Contains(r.GroupBy, "pod")) {
		c.fail(errors.New("an Event is on one pod: group by namespace and pod, or leave group_by out"), "group_by")
	}
	if r.MaxListed != nil && *r.MaxListed == 0 {
		c.fail(errors.New("an Event is on a pod that has the address of an incident: list at least one"), "max_listed")
	}
	if e.APIURL == "" {
		e.APIURL = kubernetes.InCluster
		if !e.TokenFrom.set() {
			e.TokenFrom.File = kubernetes.TokenFile
		}
	}
	c.fail(checkURL(e.APIURL), "kubernetes_events", "api_url")
	_, token := c.secret(e.TokenFrom, nil, "kubernetes_events", "token_from")
	return kubernetes.New(kubernetes.Config{URL: e.APIURL, Token: token, Client: client})
}

// checkURL does not repeat the URL, which may hold a secret.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("the URL does not begin with http:// or https:// and a host")
	}
	return nil
}
