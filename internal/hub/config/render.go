// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"strings"
	"text/template"
	"time"

	"github.com/renat-project/renat/correlator/incident/filter"
	"github.com/renat-project/renat/sinks/notification"
)

// The templates of a receiver that has none of its own.
const (
	defaultTitle = `{{ if eq .Reason "repeat" }}Still: {{ end }}{{ if eq .Reason "test" }}TEST: {{ end }}` +
		`{{ .Group.Total }} {{ if eq .Group.Total 1 }}connection{{ else }}connections{{ end }} broken` +
		`{{ with .Group.Labels.workload }} of {{ . }}{{ end }}{{ with .Group.Labels.destination }} to {{ . }}{{ end }}`
	defaultText = "{{ .Verdict.What }}\n{{ .Verdict.Size }}"
)

// What templates may make, in bytes.
const (
	maxTitle = 300
	maxText  = 6000
	maxLink  = 2000
)

// render returns a function that fills in title, text and link of a
// notification. The templates are tried on a sample here, so that a field
// which does not exist is found before it is needed.
func (c *checker) render(r *receiver) func(*notification.Notification) {
	var all []func(*notification.Notification)
	for _, t := range []struct {
		key, text, standard string
		set                 func(*notification.Notification, string)
	}{
		{"title", r.Title, defaultTitle, func(n *notification.Notification, s string) {
			n.Title = notification.Cut(strings.TrimSpace(notification.Line(s)), maxTitle)
		}},
		{"text", r.Text, defaultText, func(n *notification.Notification, s string) {
			n.Text = notification.Cut(strings.TrimSpace(notification.Lines(s)), maxText)
		}},
		{"link", r.Link, "", func(n *notification.Notification, s string) {
			if s = strings.TrimSpace(notification.Line(s)); len(s) <= maxLink && checkURL(s) == nil {
				n.Link = s
			}
		}},
	} {
		standard := template.Must(template.New(t.key).Parse(t.standard))
		own := standard
		if t.text != "" {
			var err error
			if own, err = parseTemplate(t.key, t.text); err != nil {
				c.fail(err, t.key)
				continue
			}
		}
		all = append(all, func(n *notification.Notification) {
			var b strings.Builder
			if own.Execute(&b, n) != nil {
				// What the sample had and this one has not, such as a first
				// incident: better said in other words than not at all.
				b.Reset()
				_ = standard.Execute(&b, n)
			}
			t.set(n, b.String())
		})
	}
	page := c.ExternalURL
	return func(n *notification.Notification) {
		n.Link = linkTo(page, n)
		for _, f := range all {
			f(n)
		}
	}
}

// linkTo is the page's list of a group's incidents, or "" if there is no page.
func linkTo(page string, n *notification.Notification) string {
	u, err := url.Parse(page)
	if err != nil || page == "" {
		return ""
	}
	q := url.Values{}
	for _, p := range filter.Params() {
		if v := n.Group.Labels[p.Name]; v != "" {
			q.Set(p.Name, v)
		}
	}
	u = u.JoinPath("incidents")
	u.RawQuery = q.Encode()
	return u.String()
}

func parseTemplate(key, text string) (*template.Template, error) {
	t, err := template.New(key).Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the template is wrong: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, notification.Sample("sample", time.Unix(0, 0))); err != nil {
		return nil, fmt.Errorf("the template fails for a sample: %w", err)
	}
	return t, nil
}
