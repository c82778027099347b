// SPDX-License-Identifier: Apache-2.0

// Package client asks an agent's or a hub's HTTP API. A Client may be used from
// any goroutine.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// Config says whom to ask.
type Config struct {
	URL string // http://host:port or https://host:port
	// TokenFile has the bearer token, read for each request; "": there is none.
	TokenFile string
}

// Client asks one server.
type Client struct {
	base  *url.URL
	token string
}

const (
	// patience is how long an answer may take; events come for longer.
	patience = 10 * time.Second
	// pause is how long Follow waits before it asks again.
	pause = time.Second
	// page is how many incidents are asked for at a time, maxBody how large an
	// answer, or an event, may be.
	page    = "1000"
	maxBody = 64 << 20
)

// New checks the configuration.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not a URL like http://127.0.0.1:9969", c.URL)
	}
	return &Client{base: u, token: c.TokenFile}, nil
}

// errAbsent says that the server has no such thing.
var errAbsent = errors.New("not found")

// open asks and returns an answer to be read.
func (c *Client) open(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		token, err := os.ReadFile(c.token)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.base.Redacted(), err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("asking %s for %s: %w", c.base.Redacted(), path, errAbsent)
	}
	var problem struct{ Title, Detail string }
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&problem) // the status tells enough
	return nil, fmt.Errorf("asking %s for %s: %s: %s %s", c.base.Redacted(), path, resp.Status, problem.Title, problem.Detail)
}

func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := c.open(ctx, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxBody)).Decode(into); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", c.base.Redacted(), err)
	}
	return nil
}

// Incidents yields all incidents that the server keeps, the newest first,
// without evidence and labels.
func (c *Client) Incidents(ctx context.Context, yield func(*incident.Incident)) error {
	for cursor := ""; ; {
		var list struct {
			Incidents []json.RawMessage
			Next      string
		}
		if err := c.get(ctx, "/v1/incidents", url.Values{"limit": {page}, "cursor": {cursor}}, &list); err != nil {
			return err
		}
		for _, raw := range list.Incidents {
			i, err := incident.UnmarshalCloudEvent(raw)
			if err != nil {
				return fmt.Errorf("reading the answer of %s: %w", c.base.Redacted(), err)
			}
			yield(i)
		}
		if cursor = list.Next; cursor == "" {
			return nil
		}
	}
}

// Follow yields new incidents, and again those that the server keeps whenever
// it had to connect anew, until ctx ends. What goes wrong it tells failed, and
// tries again.
func (c *Client) Follow(ctx context.Context, yield func(*incident.Incident), failed func(error)) {
	for ctx.Err() == nil {
		if err := c.follow(ctx, yield); ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (c *Client) follow(ctx context.Context, yield func(*incident.Incident)) error {
	body, err := c.open(ctx, "/v1/events", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := c.Incidents(ctx, yield); err != nil { // since it was asked last
		return err
	}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxBody)
	var name []byte
	for lines.Scan() {
		line := lines.Bytes()
		if n, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			name = bytes.Clone(n)
		}
		if string(name) == "restart" || string(name) == "dropped" {
			return fmt.Errorf("following %s: it has more news than it could tell", c.base.Redacted())
		}
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok && string(name) == "incident" {
			i, err := incident.UnmarshalCloudEvent(data)
			if err != nil {
				return fmt.Errorf("following %s: %w", c.base.Redacted(), err)
			}
			yield(i)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("following %s: %w", c.base.Redacted(), err)
	}
	return fmt.Errorf("following %s: it ended the connection", c.base.Redacted())
}

// Mapping asks an agent where an entry of its node's NAT maps translates a tuple
// to now; false if there is none, or the server is no agent.
func (c *Client) Mapping(ctx context.Context, t correlator.Tuple, d correlator.Dir) (correlator.Addr, bool, error) {
	var answer struct {
		To netip.AddrPort `json:"to"`
	}
	err := c.get(ctx, "/v1/mapping", url.Values{
		"protocol": {t.Protocol.String()}, "source": {t.Src.String()}, "destination": {t.Dst.String()}, "direction": {d.String()},
	}, &answer)
	if errors.Is(err, errAbsent) {
		return correlator.Addr{}, false, nil
	}
	if err != nil || !answer.To.IsValid() {
		return correlator.Addr{}, false, err
	}
	return correlator.AddrOf(answer.To), true, nil
}
