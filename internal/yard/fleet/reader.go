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
	lost           atomic.Uint64
	// shown is how old the newest incident is when it is shown for the first time.
	shown  lags
	mu     sync.Mutex
	newest time.Time
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
	refresh      = time.Second      // now.tsx: refreshMs
	refreshNodes = 5 * time.Second  // nodesMs
	roll         = 20 * time.Second // rollMs
	again        = time.Second      // live.ts: retry
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
	nodesPath   = "/v1/nodes?limit=24"
	latestPath  = "/v1/incidents?limit=8"
	advicePath  = "/v1/advice?limit=20"
	eventsPath  = "/v1/events?tell=changes"
)

// run looks until ctx ends; a page whose hub went away is opened anew.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.lost.Add(1)
		}
		_ = sleep(ctx, again) // the loop ends with ctx
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
	incidents, nodes := make(chan struct{}, 1), make(chan struct{}, 1)
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { cancel(r.follow(ctx, hub, incidents, nodes)) })
	if err := r.all(ctx, hub, "/v1/about", summaryPath, nodesPath, latestPath, advicePath); err != nil {
		return err
	}
	r.first.add(time.Since(began))
	if r.firstBytes == 0 {
		r.firstBytes = r.bytes.Load() - before
	}
	background.Go(func() { cancel(r.refresh(ctx, hub, nodes, refreshNodes, nodesPath)) })
	background.Go(func() { cancel(r.refresh(ctx, hub, incidents, refresh, summaryPath, latestPath)) })
	rolls := time.NewTicker(roll)
	defer rolls.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-rolls.C:
		}
		if err := r.all(ctx, hub, summaryPath, latestPath, nodesPath, advicePath); err != nil {
			return err
		}
	}
}

// refresh asks again when something changed, at most every so often.
func (r *reader) refresh(ctx context.Context, hub string, changed <-chan struct{}, every time.Duration, paths ...string) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		if err := r.all(ctx, hub, paths...); err != nil {
			return err
		}
		if err := sleep(ctx, every); err != nil {
			return err
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
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	r.answers.add(time.Since(began))
	if strings.HasSuffix(url, summaryPath) {
		r.see(body)
	}
	return nil
}

// see notes the newest incident of a summary.
func (r *reader) see(summary []byte) {
	var s struct{ Newest time.Time }
	if json.Unmarshal(summary, &s) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Newest.After(r.newest) {
		r.newest = s.Newest
		r.shown.add(time.Since(s.Newest))
	}
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
func (r *reader) follow(ctx context.Context, hub string, incidents, nodes chan<- struct{}) error {
	res, err := r.ask(ctx, hub+eventsPath)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		r.events.Add(1)
		var changed struct{ Incidents, Nodes int }
		if json.Unmarshal([]byte(data), &changed) != nil {
			continue // of another event
		}
		if changed.Incidents > 0 {
			note(incidents)
		}
		if changed.Nodes > 0 {
			note(nodes)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// note says that something changed, once until it is heard.
func note(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}
