// SPDX-License-Identifier: Apache-2.0

package nodestatus_test

import (
	"testing"

	"github.com/renat-project/renat/internal/nodestatus"
)

// A node that does not see, name, store or send is never ok, and never only
// evicting or breaking.
func TestState(t *testing.T) {
	evicting := []nodestatus.Map{{LastTenMinutes: nodestatus.Rates{Evictions: 0.1}}}
	for _, c := range []struct {
		waits   []string
		maps    []nodestatus.Map
		lastTen uint64
		want    nodestatus.State
	}{
		{want: nodestatus.OK},
		{maps: []nodestatus.Map{{CT: true, LastTenMinutes: nodestatus.Rates{Evictions: 1}}}, want: nodestatus.OK},
		{maps: evicting, want: nodestatus.Evicting},
		{maps: evicting, lastTen: 1, want: nodestatus.Breaking},
		{waits: []string{nodestatus.PartHubble}, maps: evicting, lastTen: 1, want: nodestatus.Degraded},
		{waits: []string{nodestatus.PartNATS}, want: nodestatus.Degraded},
		{waits: []string{nodestatus.PartOutbox}, want: nodestatus.Degraded},
		{waits: []string{nodestatus.PartKernel, nodestatus.PartHubble}, lastTen: 1, want: nodestatus.Blind},
	} {
		s := nodestatus.Status{Maps: c.maps, Incidents: nodestatus.Incidents{LastTen: c.lastTen}}
		for _, name := range []string{nodestatus.PartKernel, nodestatus.PartHubble, nodestatus.PartOutbox, nodestatus.PartNATS} {
			p := nodestatus.Part{Name: name, Ready: true}
			for _, w := range c.waits {
				p.Ready = p.Ready && w != name
			}
			s.Parts = append(s.Parts, p)
		}
		if got := s.State(); got != c.want || s.Ready() != (len(c.waits) == 0) {
			t.Errorf("%+v: %s, ready %t", c, got, s.Ready())
		}
	}
	for i, s := range nodestatus.States {
		if s.Severity() != i {
			t.Errorf("%s: severity %d", s, s.Severity())
		}
	}
	if nodestatus.State("well").Severity() != -1 {
		t.Error("an unknown state has a severity")
	}
}
