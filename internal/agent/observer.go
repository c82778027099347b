// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble/proxy"
	"github.com/renat-project/renat/internal/agent/recall"
)

// Observer says where to serve Hubble's Observer with additions.
type Observer struct {
	// Listener is where; nil: nowhere. Run closes it.
	Listener net.Listener
	TLS      *proxy.ServerTLS // nil: plain text
}

// observer is the Observer in front of Hubble's, with what it knows.
type observer struct {
	proxy *proxy.Proxy
	live  *recall.Live
	book  *recall.Book
}

// newObserver returns nil if none is asked for.
func newObserver(c *Config) (*observer, error) {
	if c.Observer.Listener == nil {
		return nil, nil
	}
	o := &observer{live: recall.NewLive(c.Kernel.Lookup)}
	o.book = recall.New(o.live.Mapping)
	var err error
	o.proxy, err = proxy.New(proxy.Config{
		Upstream: c.Hubble.Address, TLS: c.Hubble.TLS,
		Listener: c.Observer.Listener, ServerTLS: c.Observer.TLS, Source: o.book,
	})
	return o, err
}

// run serves until ctx ends.
func (o *observer) run(ctx context.Context) error {
	if o == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return o.proxy.Run(ctx)
}

// stats are zero without an Observer.
func (o *observer) stats() proxy.Stats {
	if o == nil {
		return proxy.Stats{}
	}
	return o.proxy.Stats()
}

// found takes an incident.
func (o *observer) found(i *incident.Incident) {
	if o != nil {
		o.book.Add(i)
	}
}

// noting passes changes on to next and notes them on the way.
func (o *observer) noting(next func(correlator.Event)) func(correlator.Event) {
	if o == nil {
		return next
	}
	return func(ev correlator.Event) {
		o.live.Note(&ev)
		next(ev)
	}
}
