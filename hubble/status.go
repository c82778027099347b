// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"context"
	"time"

	"github.com/cilium/cilium/api/v1/observer"

	"github.com/renat-project/renat/correlator"
)

const (
	statusTimeout = 10 * time.Second
	maxPatience   = 32
	// startSlack is how much the start time of one and the same server may
	// seem to move, since it is computed from its uptime.
	startSlack = 2 * time.Second
	// minFlows is how many events a ring must hold before it may be followed.
	// Following an emptier one starts before its beginning, and delivers
	// nothing until the whole ring was filled once.
	minFlows = 2
)

// instance is one life of a server.
type instance struct {
	started time.Time // zero if unknown
	seen    uint64
}

func instanceOf(st *observer.ServerStatusResponse) instance {
	i := instance{seen: st.GetSeenFlows()}
	if up := st.GetUptimeNs(); up > 0 {
		i.started = time.Now().Add(-time.Duration(up)) //nolint:gosec // 292 years
	}
	return i
}

// restarted reports whether n is a later life of the server than i.
func (i instance) restarted(n instance) bool {
	later := !i.started.IsZero() && !n.started.IsZero() && n.started.Sub(i.started) > startSlack
	return later || n.seen < i.seen
}

func (s *session) status(ctx context.Context, api observer.ObserverClient) (*observer.ServerStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	st, err := api.ServerStatus(ctx, &observer.ServerStatusRequest{})
	if err != nil {
		return nil, err
	}
	s.c.state.update(func(t *Stats) { t.ServerVersion = st.GetVersion() })
	return st, nil
}

// await returns the server's status once its ring can be read.
func (s *session) await(ctx context.Context, api observer.ObserverClient) (*observer.ServerStatusResponse, error) {
	for waited := false; ; waited = true {
		st, err := s.status(ctx, api)
		if err != nil || !s.c.cfg.Follow || st.GetNumFlows() >= minFlows {
			return st, err
		}
		if !waited {
			s.c.cfg.Logger.Info().Str("address", s.c.cfg.Address).Str("version", st.GetVersion()).
				Msg("Hubble has no flows yet, waiting for the first ones")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(s.c.cfg.PollInterval):
		}
	}
}

// meet takes note of the server that the next stream will come from, and
// tells the correlator if it is not the one that the last stream came from.
func (s *session) meet(st *observer.ServerStatusResponse) (restarted bool) {
	now := instanceOf(st)
	restarted = s.known.restarted(now)
	s.known = now
	s.c.cfg.Logger.Info().Str("address", s.c.cfg.Address).Str("version", st.GetVersion()).
		Uint64("num_flows", st.GetNumFlows()).Uint64("seen_flows", st.GetSeenFlows()).
		Bool("restarted", restarted).Msg("connected to Hubble")
	if restarted {
		s.c.state.update(func(t *Stats) { t.Restarts++ })
		s.lose(s.win.last, time.Now().UnixNano())
	}
	return restarted
}

// lose tells that an unknown number of flows is missing between two times.
func (s *session) lose(first, last int64) {
	ev := correlator.Event{Time: last, Kind: correlator.KindLoss}
	ev.Loss = correlator.Loss{From: correlator.LossHubbleRestart, First: first, Last: last}
	s.date(&ev)
	s.emit(ev, nil)
}

// date gives a loss without times the time of the last flow.
func (s *session) date(ev *correlator.Event) {
	if ev.Time == 0 {
		ev.Time = s.win.last
	}
	if ev.Time == 0 {
		ev.Time = time.Now().UnixNano()
	}
	for _, t := range []*int64{&ev.Loss.First, &ev.Loss.Last} {
		if *t == 0 {
			*t = ev.Time
		}
	}
}

// watch ends a stream that keeps silent although the server sees flows, or
// whose server answers no more.
func (s *session) watch(ctx context.Context, api observer.ObserverClient, base *observer.ServerStatusResponse, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(s.c.cfg.StatusInterval)
	defer tick.Stop()
	for quiet, last := 0, s.received.Load(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		st, err := s.status(ctx, api)
		received := s.received.Load()
		silent := received == last
		last = received
		switch {
		case err != nil && silent:
			cancel(err)
			return
		case err != nil:
		case !silent:
			s.known, base = instanceOf(st), st
			quiet, s.patience = 0, 1
		case st.GetSeenFlows() > base.GetSeenFlows()+1: // the newest is always withheld
			if quiet++; quiet >= s.patience {
				s.patience = min(2*s.patience, maxPatience)
				cancel(errSilent)
				return
			}
		}
	}
}
