// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"net/netip"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// Facts are what is known of the incidents of one group.
type Facts struct {
	// Kinds, Causes and Outcomes count the incidents by what they are.
	Kinds    map[incident.Kind]int
	Causes   map[incident.Cause]int
	Outcomes map[incident.Outcome]int
	// Source, Destination and Node name the sides in words; each may be empty.
	Source, Destination, Node string

	// What follows is of the incidents that Learn was given.

	// DeletedBy is a process that deleted entries, if one did.
	DeletedBy string
	// MaxEntries is the size of the smallest NAT map among them; 0: not known.
	MaxEntries uint32
	// TrackingEntries is the size of the smallest connection tracking map that lost
	// one; 0: not known.
	TrackingEntries uint32
	// Refused is how many connections found no port; of those the most ports in use
	// to a server, the address they are of, who holds them, and since when.
	Refused     uint64
	PortsInUse  uint64
	PortAddress string
	PortHolders []incident.PodCount
	RefusedFrom time.Time
	// Broken is how many connections broke by replacements that are told of as one;
	// of one of those the sizes before and after, 0: not known.
	Broken     uint64
	SizeBefore uint32
	SizeAfter  uint32
	// EvictionsPerSecond is the highest rate among them; 0: not known.
	EvictionsPerSecond float64
	// ReplacedAt is when a map was replaced; zero: none was, or it is not known.
	ReplacedAt time.Time
	// Incident is the id of one of them.
	Incident string

	// moved of the re-NATted go on from another address, ported from another
	// port of the same; the first that moved did so from one to the other, and
	// kept its port.
	moved, ported int
	from, to      netip.Addr
	kept          bool
}

// OfIncident returns the verdict on a single incident.
func OfIncident(i *incident.Incident) Verdict {
	f := Facts{
		Kinds: map[incident.Kind]int{i.Kind: 1}, Causes: map[incident.Cause]int{i.Cause: 1}, Outcomes: map[incident.Outcome]int{i.Outcome: 1},
		Source: i.Source.Owner(), Destination: i.Destination.HostPort(), Node: i.Node,
	}
	f.Learn(i)
	return Of(f)
}

// Learn takes from an incident of the group what is not counted.
func (f *Facts) Learn(i *incident.Incident) {
	size := &f.MaxEntries
	if i.Kind == incident.TrackingLost {
		size = &f.TrackingEntries
	} else {
		f.EvictionsPerSecond = max(f.EvictionsPerSecond, i.Map.EvictionsPerSecond)
	}
	if i.Map.MaxEntries > 0 && (*size == 0 || i.Map.MaxEntries < *size) {
		*size = i.Map.MaxEntries
	}
	if f.DeletedBy == "" {
		f.DeletedBy = i.DeletedBy
	}
	if f.Incident == "" {
		f.Incident = i.ID
	}
	if i.Cause == incident.MapReplaced && (f.ReplacedAt.IsZero() || i.NAT.RemovedAt.Before(f.ReplacedAt)) {
		f.ReplacedAt = i.NAT.RemovedAt
	}
	if p := i.Replaced; p != nil {
		f.Broken += p.Broken
		f.SizeBefore, f.SizeAfter = p.MaxEntriesBefore, i.Map.MaxEntries
	}
	if p := i.Ports; p != nil {
		f.Refused += p.Refused
		if p.InUse > f.PortsInUse {
			f.PortsInUse, f.PortAddress, f.PortHolders = p.InUse, p.Address, p.Holders
		}
		if f.RefusedFrom.IsZero() || p.Since.Before(f.RefusedFrom) {
			f.RefusedFrom = p.Since
		}
	}
	before, err := netip.ParseAddrPort(i.NAT.Before)
	after, err2 := netip.ParseAddrPort(i.NAT.After)
	switch {
	case err != nil || err2 != nil:
	case before.Addr() == after.Addr():
		f.ported++
	default:
		if f.moved == 0 {
			f.from, f.to, f.kept = before.Addr(), after.Addr(), before.Port() == after.Port()
		}
		f.moved++
	}
}
