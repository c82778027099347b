// SPDX-License-Identifier: Apache-2.0

package nodestatus

// State is a node in one word.
type State string

// The states, the worst last.
const (
	OK       State = "ok"
	Evicting State = "evicting" // a NAT map evicted in the last ten minutes
	Breaking State = "breaking" // there was an incident in the last ten minutes
)

// State returns how bad it is.
func (s *Status) State() State {
	if s.Incidents.LastTen > 0 {
		return Breaking
	}
	for i := range s.Maps {
		if !s.Maps[i].CT && s.Maps[i].LastTenMinutes.Evictions > 0 {
			return Evicting
		}
	}
	return OK
}

// Ready reports whether every part is.
func (s *Status) Ready() bool {
	for _, p := range s.Parts {
		if !p.Ready {
			return false
		}
	}
	return true
}
