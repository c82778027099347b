// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// reader does what a browser does that shows the page's first view: what it asks
// for, when and how often is that of internal/web/page/web/src/now.tsx.
type reader struct {
	hubs   *places
	client *http.Client
	bytes  atomic.Int64 // that came
	// first is until the view can be drawn, the page's files included.
	first, answers lags
	firstBytes     int64
	events         atomic.Uint64
	shown          lags // incidents, since they happened
	lost           atomic.Uint64
}

// places are where the hubs' pages are.
type places struct {
	mu  sync.Mutex
	all []string
	// next is whom to ask, as a Service spreads connections.
	next int
}

func (p *places) set(all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = all
}

func (p *places) one() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	return "http://" + p.all[p.next%len(p.all)]
}

const (
	refresh = time.Second      // now.tsx: refreshMs
	roll    = 20 * time.Second // rollMs
	again   = time.Second      // live.ts: retry
)

func newReader(hubs *places) *reader {
	r := &reader{hubs: hubs}
	dialer := &net.Dialer{}
	r.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &counted{c, &r.bytes}, nil
		},
	}}
	return r
}

// counted counts what is read.
type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

const (
	summaryPath = "/v1/summary?since=1h"
	nodesPath   = "/v1/nodes"
	latestPath  = "/v1/incidents?limit=8"
	advicePath  = "/v1/advice"
)

// run looks until ctx ends; a page whose hub went away is opened anew.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.lost.Add(1)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// look opens the page and keeps it up to date until it cannot.
func (r *reader) look(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hub := r.hubs.one()
	began, before := time.Now(), r.bytes.Load()
	for _, path := range []string{"/", "/assets/style.css", "/assets/app.js"} {
		if err := r.get(ctx, hub+path); err != nil {
			return err
		}
	}
	stir := make(chan struct{}, 1)
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { cancel(r.follow(ctx, hub, stir)) })
	if err := r.all(ctx, hub, "/v1/about", summaryPath, nodesPath, latestPath, advicePath); err != nil {
		return err
	}
	r.first.add(time.Since(began))
	if r.firstBytes == 0 {
		r.firstBytes = r.bytes.Load() - before
	}
	rolls := time.NewTicker(roll)
	defer rolls.Stop()
	for {
		asked := []string{summaryPath, latestPath}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-rolls.C:
			asked = append(asked, nodesPath, advicePath)
		case <-stir:
		}
		if err := r.all(ctx, hub, asked...); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(refresh):
		}
	}
}

// all asks for several paths at once.
func (r *reader) all(ctx context.Context, hub string, paths ...string) error {
	errs := make(chan error, len(paths))
	for _, path := range paths {
		go func() { errs <- r.get(ctx, hub+path) }()
	}
	var err error
	for range paths {
		err = errors.Join(err, <-errs)
	}
	return err
}

func (r *reader) get(ctx context.Context, url string) error {
	began := time.Now()
	res, err := r.ask(ctx, url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	r.answers.add(time.Since(began))
	return nil
}

func (r *reader) ask(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return res, nil
}

// follow listens for what changes.
func (r *reader) follow(ctx context.Context, hub string, stir chan<- struct{}) error {
	res, err := r.ask(ctx, hub+"/v1/events")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	name := ""
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = event
			continue
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		r.events.Add(1)
		if name != "incident" {
			continue
		}
		var e struct {
			Data struct{ Time time.Time }
		}
		if json.Unmarshal([]byte(data), &e) == nil {
			r.shown.add(time.Since(e.Data.Time))
		}
		select {
		case stir <- struct{}{}:
		default:
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
