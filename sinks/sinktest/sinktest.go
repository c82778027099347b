// SPDX-License-Identifier: Apache-2.0

// Package sinktest is the conformance suite of notification.Destination: each
// destination's tests run it.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/renat-project/renat/sinks/notification"
)

// New makes a destination that posts to the server at url. What of it is
// secret, secrets say.
type New func(t *testing.T, url string, client *http.Client) (d notification.Destination, secrets []string)

// sent is when the suite's notifications were made.
var sent = time.Date(2026, 11, 22, 22, 49, 56, 0, time.UTC)

// Run runs the suite. ok is what a server answers to a destination it obeys.
func Run(t *testing.T, newDestination New, ok http.HandlerFunc) {
	t.Run("taken", func(t *testing.T) { taken(t, newDestination, ok) })
	for status, want := range map[int]struct{ permanent, gone bool }{
		400: {permanent: true}, 403: {permanent: true}, 404: {permanent: true}, 410: {permanent: true, gone: true}, 413: {permanent: true},
		408: {}, 425: {}, 500: {}, 502: {}, 503: {}, 504: {}, 301: {permanent: true}, 307: {permanent: true},
	} {
		t.Run(fmt.Sprint("status ", status), func(t *testing.T) {
			err := against(t, newDestination, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
				w.WriteHeader(status)
				repeat(w, r)
			})
			if err == nil {
				t.Fatal("no error")
			}
			if notification.Permanent(err) != want.permanent || notification.Gone(err) != want.gone {
				t.Errorf("permanent %v, gone %v: %v", notification.Permanent(err), notification.Gone(err), err)
			}
		})
	}
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "999999999": time.Hour} {
		t.Run("429 with Retry-After "+header, func(t *testing.T) {
			err := against(t, newDestination, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", header)
				w.WriteHeader(http.StatusTooManyRequests)
			})
			if err == nil || notification.Permanent(err) || notification.RetryAfter(err) != want {
				t.Errorf("permanent %v, after %s: %v", notification.Permanent(err), notification.RetryAfter(err), err)
			}
		})
	}
	t.Run("hang", func(t *testing.T) { hang(t, newDestination) })
	t.Run("no server", func(t *testing.T) { noServer(t, newDestination) })
	t.Run("connection cut", func(t *testing.T) {
		err := against(t, newDestination, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		if err == nil || notification.Permanent(err) {
			t.Errorf("Send = %v", err)
		}
	})
}

// repeat answers with all that the request held, as a careless server does.
func repeat(w io.Writer, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "no: %s %s %v\r\n\x1b[31m%s", r.Method, r.URL, r.Header, body)
}

// against sends one notification to a server, and checks that the error has
// no secret in it and is one line.
func against(t *testing.T, newDestination New, h http.HandlerFunc) error {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	d, secrets := newDestination(t, server.URL, server.Client())
	err := d.Send(t.Context(), notification.Sample("ops", sent))
	checkError(t, err, secrets)
	return err
}

func checkError(t *testing.T, err error, secrets []string) {
	t.Helper()
	if err == nil {
		return
	}
	for _, s := range secrets {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the error tells the secret %q: %v", s, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\r\x1b") {
		t.Errorf("control characters in %q", err)
	}
}

func taken(t *testing.T, newDestination New, ok http.HandlerFunc) {
	var mu sync.Mutex
	var bodies []string
	err := against(t, newDestination, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		bodies = append(bodies, string(body))
		mu.Unlock()
		ok(w, r)
	})
	if err != nil || len(bodies) == 0 {
		t.Errorf("Send = %v after %d requests", err, len(bodies))
	}
}

func hang(t *testing.T, newDestination New) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	defer server.Close()
	defer close(release)
	d, secrets := newDestination(t, server.URL, server.Client())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := d.Send(ctx, notification.Sample("ops", sent))
	checkError(t, err, secrets)
	if err == nil || notification.Permanent(err) || time.Since(began) > 2*time.Second {
		t.Errorf("Send = %v after %s", err, time.Since(began))
	}
}

func noServer(t *testing.T, newDestination New) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, url := range []string{"http://" + l.Addr().String(), "http://nowhere.invalid"} {
		d, secrets := newDestination(t, url, &http.Client{})
		err := d.Send(t.Context(), notification.Sample("ops", sent))
		checkError(t, err, secrets)
		if err == nil || notification.Permanent(err) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: Send = %v", url, err)
		}
	}
}
