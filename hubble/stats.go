// SPDX-License-Identifier: Apache-2.0

package hubble

import "sync"

// Stats is the state of a client. Its counters only grow.
type Stats struct {
	Connected     bool   // a stream of flows is open
	ServerVersion string // of the agent last connected to
	Flows         uint64 // flows emitted
	Repeats       uint64 // flows left out because they had been emitted before
	Ignored       uint64 // messages that hold nothing for the correlator
	Lost          uint64 // events that the server reported lost
	Undecodable   uint64 // messages that could not be used
	Streams       uint64 // subscriptions made
	Reconnects    uint64 // subscriptions that ended without being asked to
	Restarts      uint64 // restarts of the agent noticed
	LastError     string // why the last stream ended; empty while all is well
}

// state is a Stats that several goroutines may use.
type state struct {
	mu    sync.Mutex
	stats Stats
}

func (s *state) update(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

func (s *state) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
