// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
)

// Config says which flows to read and from where. The zero value of every
// field but Follow is a sensible choice.
type Config struct {
	// Address is unix:///path, host:port, tcp://host:port or tls://host:port;
	// empty: DefaultAddress.
	Address string
	// TLS secures the connection. nil: plain text, except for tls:// addresses,
	// whose certificate is checked against the system's authorities.
	TLS    *TLS
	Logger zerolog.Logger

	// Follow keeps reading, through any interruption, until Run's context
	// ends. Otherwise Run reads once what the server has.
	Follow bool
	// Since is the flow time to begin with. Zero: what the server has, or when
	// following, the time at which Run was called.
	Since time.Time
	// ExcludeCIDRs are networks that are never masqueraded: flows between two
	// addresses inside them are not asked for.
	ExcludeCIDRs []netip.Prefix

	// StatusInterval is how often the server's status is asked for while
	// flows are streaming. Zero: 10 s.
	StatusInterval time.Duration
	// PollInterval is how often it is asked for while its ring is empty.
	// Zero: 1 s.
	PollInterval time.Duration
	// MinBackoff and MaxBackoff bound the wait before connecting again.
	// Zero: 200 ms and 10 s.
	MinBackoff, MaxBackoff time.Duration
}

func (c *Config) setDefaults() {
	c.Address = cmp.Or(c.Address, DefaultAddress)
	c.StatusInterval = cmp.Or(c.StatusInterval, 10*time.Second)
	c.PollInterval = cmp.Or(c.PollInterval, time.Second)
	c.MinBackoff = cmp.Or(c.MinBackoff, 200*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 10*time.Second)
}

// Client reads flows from one server.
type Client struct {
	cfg    Config
	target *Target
	state  state
}

// New checks the configuration, certificate files included. It does not
// connect.
func New(cfg Config) (*Client, error) {
	cfg.setDefaults()
	target, err := NewTarget(cfg.Address, cfg.TLS)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, target: target}, nil
}

// Stats returns the client's state.
func (c *Client) Stats() Stats { return c.state.snapshot() }

// Run emits the server's flows, and what was lost, in the order in which the
// server sends them. When following it returns only the context's error: every
// other one is logged, kept in Stats and tried again. When not following it
// returns nil at the end of what the server has, or the first error.
func (c *Client) Run(ctx context.Context, emit func(correlator.Event)) error {
	return c.run(ctx, newSession(c, func(ev correlator.Event, _ *observer.GetFlowsResponse) { emit(ev) }))
}

// Tap is Run for those who record: it asks for whole flows, at several times
// Run's cost, and hands out each message beside the event made of it. A loss
// that no message told, or whose message is not valid protobuf, comes without
// one; a message that holds nothing for the correlator comes with the zero
// Event.
func (c *Client) Tap(ctx context.Context, emit func(correlator.Event, *observer.GetFlowsResponse)) error {
	s := newSession(c, emit)
	s.whole, s.masked = true, false
	return c.run(ctx, s)
}

func (c *Client) run(ctx context.Context, s *session) error {
	log := c.cfg.Logger
	failures, logged := 0, ""
	for {
		progress, err := s.stream(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errMask) {
			log.Warn().Str("address", c.cfg.Address).Msg("Hubble refuses the field mask, asking for whole flows: this costs more CPU")
			s.masked = false
			continue
		}
		if !c.cfg.Follow {
			return err
		}
		if progress {
			failures, logged = 0, ""
		}
		c.state.update(func(st *Stats) { st.Reconnects++; st.LastError = err.Error() })
		if errors.Is(err, errSilent) {
			log.Info().Str("address", c.cfg.Address).Msg("Hubble sees flows but sends none, subscribing again")
			continue
		}
		wait := c.backoff(failures)
		failures++
		level := zerolog.DebugLevel
		if err.Error() != logged {
			level, logged = zerolog.WarnLevel, err.Error()
		}
		log.WithLevel(level).Err(err).Dur("retry_in", wait).Msg("no flows from Hubble")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// backoff doubles with every failure in a row; the jitter keeps the agents of
// a cluster from coming back together.
func (c *Client) backoff(failures int) time.Duration {
	d := c.cfg.MaxBackoff
	if failures < 16 {
		d = min(d, c.cfg.MinBackoff<<failures)
	}
	return d/2 + rand.N(d/2+1)
}

// named puts the server's address in front of an error.
func (c *Client) named(doing string, err error) error {
	return fmt.Errorf("%s %s: %w", doing, c.cfg.Address, err)
}
