// SPDX-License-Identifier: Apache-2.0

// Package webhook posts notifications to an HTTP endpoint, signed as Standard
// Webhooks (github.com/standard-webhooks/standard-webhooks) asks: headers
// webhook-id, the same over retries, webhook-timestamp and webhook-signature.
// The body is renat's own, or that of Alertmanager's webhook, version 4.
//
// A Webhook is safe for concurrent use.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/renat-project/renat/sinks/notification"
)

// Format is the shape of the body.
type Format string

// The formats.
const (
	// Renat is {type, timestamp, data}, data being a notification.Notification.
	Renat Format = "renat"
	// Alertmanager is what Alertmanager posts to webhooks, version 4, an
	// incident being an alert.
	Alertmanager Format = "alertmanager"
)

// Config is what a Webhook needs.
type Config struct {
	// URL returns where to post to. It is asked each time, so it may change.
	URL func() (string, error)
	// Secrets return the keys to sign with, whsec_ and base64: the current
	// one and, while rotating, the one before. None: nothing is signed.
	Secrets []func() (string, error)
	Format  Format
	Client  *http.Client
}

// Webhook is a notification.Destination.
type Webhook struct{ config Config }

// New returns a webhook.
func New(c Config) *Webhook { return &Webhook{c} }

// Send posts n.
func (w *Webhook) Send(ctx context.Context, n *notification.Notification) error {
	body, err := w.body(n)
	if err != nil {
		return notification.Refuse(fmt.Errorf("encoding notification %s: %w", n.ID, err))
	}
	target, err := w.config.URL()
	if err != nil {
		return &notification.Error{Err: err}
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Webhook-Id", n.ID)
	h.Set("Webhook-Timestamp", now)
	var secrets, signatures []string
	for _, secret := range w.config.Secrets {
		s, err := secret()
		if err != nil {
			return &notification.Error{Err: err}
		}
		key, err := Key(s)
		if err != nil {
			return &notification.Error{Err: err}
		}
		signatures = append(signatures, sign(key, n.ID, now, body))
		secrets = append(secrets, s, strings.TrimPrefix(s, secretPrefix), string(key))
	}
	if len(signatures) > 0 {
		h.Set("Webhook-Signature", strings.Join(signatures, " "))
	}
	_, err = notification.Post(ctx, w.config.Client, target, h, body, secrets...)
	return err
}

const secretPrefix = "whsec_"

// Key decodes a signing secret. The error does not repeat it.
func Key(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("a webhook secret is %s and 24 to 64 bytes in base64: make one with: echo %s$(openssl rand -base64 32)", secretPrefix, secretPrefix)
	}
	return key, nil
}

func sign(key []byte, id, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%s.%s.%s", id, timestamp, body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

func (w *Webhook) body(n *notification.Notification) ([]byte, error) {
	if w.config.Format == Alertmanager {
		return json.Marshal(v4(n))
	}
	return json.Marshal(struct {
		Type      string                     `json:"type"`
		Timestamp time.Time                  `json:"timestamp"`
		Data      *notification.Notification `json:"data"`
	}{notification.Type, n.At, n})
}
