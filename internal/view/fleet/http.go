// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// HTTPAgent is an agent that is reached without a cluster.
type HTTPAgent struct {
	URL string // http://127.0.0.1:9969
	// TokenFile has the bearer token, read for each request; "": it needs none.
	TokenFile string
	Client    *http.Client
}

// NewHTTPAgent checks the URL.
func NewHTTPAgent(rawURL string) (*HTTPAgent, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL of an agent, like http://127.0.0.1:9969", rawURL)
	}
	return &HTTPAgent{URL: strings.TrimSuffix(rawURL, "/"), Client: http.DefaultClient}, nil
}

// Node returns the agent's host.
func (a *HTTPAgent) Node() string {
	if u, err := url.Parse(a.URL); err == nil {
		return u.Host
	}
	return a.URL
}

// Get implements Agent.
func (a *HTTPAgent) Get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	answer, err := a.Stream(ctx, path, query)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading its answer: %w", err)
	}
	return body, nil
}

// Stream implements Streamer.
func (a *HTTPAgent) Stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	target := a.URL + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	if a.TokenFile != "" {
		token, err := os.ReadFile(a.TokenFile)
		if err != nil {
			return nil, &Refusal{Err: fmt.Errorf("reading --token-file: %w", err)}
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	res, err := a.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading its answer: %w", err)
	}
	return nil, &StatusError{Code: res.StatusCode, Body: Said(body)}
}

// Said returns in a line what the body of an error says: the detail of the
// agent's problem, or the text.
func Said(body []byte) string {
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) == nil && problem.Title != "" {
		return strings.TrimSuffix(problem.Title+": "+problem.Detail, ": ")
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if r := []rune(line); len(r) > 200 {
		line = string(r[:200]) + "…"
	}
	return line
}
