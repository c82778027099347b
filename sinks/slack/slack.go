// SPDX-License-Identifier: Apache-2.0

// Package slack posts notifications to Slack, with an incoming webhook or a
// bot's token. With a token, a group is one message: later notifications
// update it and answer in its thread, and a repeated one posts it anew.
//
// Whatever comes from a cluster is sent as plain_text, which Slack does not
// interpret, or escaped. A Slack is safe for concurrent use.
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	slackapi "github.com/slack-go/slack"

	"github.com/renat-project/renat/sinks/notification"
)

// Config is what a Slack needs: either Webhook, or Token and Channel.
type Config struct {
	// Webhook returns the URL of an incoming webhook.
	Webhook func() (string, error)
	// Token returns a bot's token, with the scope chat:write.
	Token func() (string, error)
	// Channel is the id of a channel the bot is in, e.g. C0123456789.
	Channel string
	// API is the URL of Slack's API, ending in "/"; empty: Slack's own.
	API    string
	Client *http.Client
}

// Slack is a notification.Destination.
type Slack struct{ config Config }

// New returns a destination.
func New(c Config) *Slack {
	if c.API == "" {
		c.API = slackapi.APIURL
	}
	return &Slack{c}
}

// Send posts or updates the group's message.
func (s *Slack) Send(ctx context.Context, n *notification.Notification) error {
	if s.config.Webhook != nil {
		return s.webhook(ctx, n)
	}
	token, err := s.config.Token()
	if err != nil {
		return &notification.Error{Err: err}
	}
	api := slackapi.New(token, slackapi.OptionAPIURL(s.config.API), slackapi.OptionHTTPClient(s.config.Client))
	return explain(s.post(ctx, api, n), token)
}

func (s *Slack) webhook(ctx context.Context, n *notification.Notification) error {
	target, err := s.config.Webhook()
	if err != nil {
		return &notification.Error{Err: err}
	}
	no := false
	body, err := json.Marshal(slackapi.WebhookMessage{
		Text: fallback(n), Blocks: &slackapi.Blocks{BlockSet: blocks(n)}, UnfurlLinks: &no, UnfurlMedia: &no,
	})
	if err != nil {
		return notification.Refuse(fmt.Errorf("encoding message %s: %w", n.ID, err))
	}
	_, err = notification.Post(ctx, s.config.Client, target, http.Header{"Content-Type": {"application/json"}}, body)
	return err
}

// post sends n with the API. The memo is "channel ts" of the group's message.
func (s *Slack) post(ctx context.Context, api *slackapi.Client, n *notification.Notification) error {
	message := []slackapi.MsgOption{
		slackapi.MsgOptionText(fallback(n), false), slackapi.MsgOptionBlocks(blocks(n)...),
		slackapi.MsgOptionDisableLinkUnfurl(), slackapi.MsgOptionDisableMediaUnfurl(),
		slackapi.MsgOptionMetadata(slackapi.SlackMetadata{
			EventType: "renat_notification", EventPayload: map[string]any{"id": n.ID, "group": n.Group.ID},
		}),
	}
	channel, ts, ok := strings.Cut(n.Memo, " ")
	if ok && n.Reason == notification.Update {
		_, _, _, err := api.UpdateMessageContext(ctx, channel, ts, message...)
		if err == nil {
			_, _, err = api.PostMessageContext(ctx, channel, slackapi.MsgOptionTS(ts), slackapi.MsgOptionText(reply(n), false),
				slackapi.MsgOptionDisableLinkUnfurl())
			return err
		}
		if !isLost(err) {
			return err
		}
	}
	channel, ts, err := api.PostMessageContext(ctx, s.config.Channel, message...)
	if err == nil {
		n.Memo = channel + " " + ts
	}
	return err
}

// isLost reports whether the message to update is no longer there to update.
func isLost(err error) bool {
	switch code(err) {
	case "message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found":
		return true
	}
	return false
}

func code(err error) string {
	var e slackapi.SlackErrorResponse
	if errors.As(err, &e) {
		return e.Err
	}
	return ""
}

// explain returns err as a *notification.Error without the token.
func explain(err error, token string) error {
	if err == nil {
		return nil
	}
	e := &notification.Error{Err: fmt.Errorf("posting to Slack: %s", notification.Redact(notification.Cause(err).Error(), token))}
	var limited *slackapi.RateLimitedError
	var status slackapi.StatusCodeError
	switch {
	case errors.As(err, &limited):
		e.After = limited.RetryAfter
	case errors.As(err, &status):
		return notification.Status(status.Code, nil, e.Err)
	}
	switch c := code(err); c {
	case "", "ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org":
	case "not_in_channel", "channel_not_found":
		e.Refused = true
		e.Err = fmt.Errorf("%w: invite the bot to the channel, and give the channel's id", e.Err)
	case "invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive", "missing_scope":
		// The token can be put right while the hub runs.
		e.Err = fmt.Errorf("%w: give a bot token (xoxb-…) with the scope chat:write", e.Err)
	default:
		e.Refused = true
	}
	return e
}
