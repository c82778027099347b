// SPDX-License-Identifier: Apache-2.0

package nodestatus

import "slices"

// State is a node in one word.
type State string

// The states. What is not seen may be worse than what is: a node whose agent
// lacks a part is that, whatever else it tells.
const (
	OK       State = "ok"
	Evicting State = "evicting" // a NAT map evicted in the last ten minutes
	Breaking State = "breaking" // there was an incident in the last ten minutes
	Degraded State = "degraded" // without flows, CPU, store or NATS: incidents lack names, are missed, or stay on the node
	Silent   State = "silent"   // its agent told nothing of late: what it told before counts no more
	Blind    State = "blind"    // no agent, or without the kernel's side: nothing is seen
)

// States are all, the worst last.
var States = []State{OK, Evicting, Breaking, Degraded, Silent, Blind}

// Severity orders states: the higher, the worse; -1 of what is none.
func (s State) Severity() int { return slices.Index(States, s) }

// State returns how bad it is, which is never Silent: that is for whoever
// misses the next one.
func (s *Status) State() State {
	switch {
	case s.waits(PartKernel), s.waits(PartAgent):
		return Blind
	case !s.Ready():
		return Degraded
	case s.Incidents.LastTen > 0:
		return Breaking
	}
	for i := range s.Maps {
		if !s.Maps[i].CT && s.Maps[i].LastTenMinutes.Evictions > 0 {
			return Evicting
		}
	}
	return OK
}

// Unwatched is the status of a node without an agent.
func Unwatched(node string) *Status {
	return &Status{
		Version: Version, Node: node, Maps: []Map{}, Losses: map[string]uint64{},
		Parts: []Part{{Name: PartAgent, Problem: "no pod of renat's agent runs there"}},
	}
}

// Watched reports whether an agent runs there.
func (s *Status) Watched() bool { return !s.waits(PartAgent) }

func (s *Status) waits(part string) bool {
	return slices.ContainsFunc(s.Parts, func(p Part) bool { return p.Name == part && !p.Ready })
}

// Ready reports whether every part is.
func (s *Status) Ready() bool {
	return !slices.ContainsFunc(s.Parts, func(p Part) bool { return !p.Ready })
}
