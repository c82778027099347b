// SPDX-License-Identifier: Apache-2.0

package nodestatus

import (
	"strings"

	"github.com/renat-project/renat/internal/sizing"
)

// Evicts reports whether it is a NAT map that evicted, now or at its busiest.
func (m *Map) Evicts() bool {
	return !m.CT && (m.Evictions > 0 || m.Peaks != nil && m.Peaks.Evictions > 0)
}

// Measured is what the node's NAT maps had to bear, for sizing. The entries of
// open connections are not in a status: live returns those of a map, 0 where
// they are not known; nil: they never are.
func (s *Status) Measured(live func(name string) float64) (all []sizing.Node) {
	ctTCP, ctAny := s.ctSizes()
	for i := range s.Maps {
		m := &s.Maps[i]
		if m.CT {
			continue
		}
		out := sizing.Node{
			Name: s.Node, Map: m.Name, IPv6: strings.Contains(m.Name, "_v6_"), MaxEntries: int(m.MaxEntries), Distributed: m.Distributed,
			CTTCP: ctTCP, CTAny: ctAny,
			CPUs: s.Machine.CPUs, Memory: s.Machine.MemoryBytes, Cilium: s.Hubble.Version, Incidents: s.Incidents.Total,
			Measured: sizing.Measured{
				Evicting: m.Evicts(), Gap: m.LongestGap,
				Inserts: max(m.LastMinute.Inserts, m.LastTenMinutes.Inserts),
			},
		}
		if live != nil {
			out.Live = live(m.Name)
		}
		if m.Entries != nil {
			out.Peak = float64(*m.Entries)
		}
		if p := m.Peaks; p != nil {
			out.Peak, out.Inserts = max(out.Peak, float64(p.Entries)), max(out.Inserts, p.Inserts)
		}
		if m.Inserts > 0 {
			out.Collisions = float64(m.Collisions) / float64(m.Inserts)
		}
		all = append(all, out)
	}
	return all
}

// ctSizes are the sizes of the connection tracking maps, of which each address
// family has two of the same sizes; 0 of one that the node does not have.
func (s *Status) ctSizes() (tcp, others int) {
	for i := range s.Maps {
		m := &s.Maps[i]
		switch {
		case !m.CT:
		case strings.Contains(m.Name, "_any"):
			others = max(others, int(m.MaxEntries))
		default:
			tcp = max(tcp, int(m.MaxEntries))
		}
	}
	return tcp, others
}
