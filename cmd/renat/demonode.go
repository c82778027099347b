// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/recording"
)

// recordedNode tells how a recorded node is, as its agent would have.
type recordedNode struct {
	meta        recording.Meta
	maps        map[string]*demoMap
	flows       uint64
	first, last int64 // Unix nanoseconds of the recording, 0: nothing yet
	incidents   []*incident.Incident
}

// demoMap counts what was done to a NAT map.
type demoMap struct {
	name    string
	counts  nodestatus.Map            // its counters
	seconds map[int64]*nodestatus.Map // and those of each second of the recording
	moved   int64                     // later by so many seconds
}

func newRecordedNode(meta recording.Meta) *recordedNode {
	return &recordedNode{meta: meta, maps: map[string]*demoMap{}}
}

// see counts an event of the recording.
func (n *recordedNode) see(ev *correlator.Event) {
	if n.first == 0 {
		n.first = ev.Time
	}
	n.last = max(n.last, ev.Time)
	switch ev.Kind {
	case correlator.KindFlow:
		n.flows++
	case correlator.KindNAT:
		if ev.NAT.Map.CT {
			return
		}
		m := n.maps[ev.NAT.Map.Name]
		if m == nil {
			m = &demoMap{name: ev.NAT.Map.Name, seconds: map[int64]*nodestatus.Map{}}
			n.maps[m.name] = m
		}
		second := ev.Time / int64(time.Second)
		if m.seconds[second] == nil {
			m.seconds[second] = &nodestatus.Map{}
		}
		count(&m.counts, &ev.NAT)
		count(m.seconds[second], &ev.NAT)
	}
}

func count(m *nodestatus.Map, change *correlator.NATChange) {
	switch {
	case change.Op == correlator.Insert && change.Errno != 0:
		m.FailedInserts++
		if change.Errno == 17 { // EEXIST
			m.Collisions++
		}
	case change.Op == correlator.Insert:
		m.Inserts++
	case change.Op == correlator.Evict:
		m.Evictions++
		if change.Forced {
			m.Forced++
		}
	case change.Op == correlator.Delete:
		m.Deletes++
	}
}

// moveTo makes the recording end at now, and returns by how much that is later.
func (n *recordedNode) moveTo(now time.Time) time.Duration {
	by := now.Sub(time.Unix(0, n.last))
	n.first += int64(by)
	n.last += int64(by)
	for _, m := range n.maps {
		m.moved = int64(by / time.Second)
	}
	return by
}

// broke counts an incident, at its time after moveTo.
func (n *recordedNode) broke(i *incident.Incident) { n.incidents = append(n.incidents, i) }

// status is what the node's agent would tell at now.
func (n *recordedNode) status(now time.Time) *nodestatus.Status {
	s := &nodestatus.Status{
		Version: nodestatus.Version, Time: now.UTC(), Node: n.meta.NodeName, Cluster: n.meta.ClusterName,
		Renat: n.meta.RenatVersion, Started: time.Unix(0, n.first).UTC(),
		Machine: nodestatus.Machine{Kernel: n.meta.Kernel, CPUs: n.meta.PossibleCPUs},
		Kernel:  nodestatus.Kernel{Backend: n.meta.Backend},
		Hubble:  nodestatus.Hubble{Connected: true, Version: n.meta.CiliumVersion, Flows: n.flows},
		Losses:  map[string]uint64{},
	}
	for _, part := range []string{nodestatus.PartKernel, nodestatus.PartHubble, nodestatus.PartTracking, nodestatus.PartOutbox, nodestatus.PartNATS} {
		s.Parts = append(s.Parts, nodestatus.Part{Name: part, Ready: true})
	}
	for _, m := range n.maps {
		out := m.counts
		out.Name, out.MaxEntries = m.name, n.meta.MapMaxEntries
		out.LastMinute, out.LastTenMinutes = m.rates(now, s.Started, time.Minute), m.rates(now, s.Started, 10*time.Minute)
		s.Maps = append(s.Maps, out)
	}
	slices.SortFunc(s.Maps, func(a, b nodestatus.Map) int { return cmp.Compare(a.Name, b.Name) })
	for _, i := range n.incidents {
		c := &s.Incidents
		c.Add(string(i.Kind), string(i.Outcome), i.Time)
		if now.Sub(i.Time) < 10*time.Minute {
			c.LastTen++
		}
		if now.Sub(i.Time) < time.Hour {
			c.LastHour++
		}
	}
	return s
}

// rates are means over the time before now, or since started if that is less.
func (m *demoMap) rates(now, started time.Time, over time.Duration) nodestatus.Rates {
	over = max(min(over, now.Sub(started)), time.Second)
	var sum nodestatus.Map
	for second, c := range m.seconds {
		if at := time.Unix(second+m.moved, 0); now.Sub(at) <= over {
			sum.Inserts += c.Inserts
			sum.Evictions += c.Evictions
			sum.Forced += c.Forced
		}
	}
	r := nodestatus.Rates{Inserts: float64(sum.Inserts) / over.Seconds(), Evictions: float64(sum.Evictions) / over.Seconds()}
	if sum.Evictions > 0 {
		r.ForcedShare = float64(sum.Forced) / float64(sum.Evictions)
	}
	return r
}
