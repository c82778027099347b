// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"strconv"

	"github.com/renat-project/renat/correlator"
)

// Source knows connections.
type Source interface {
	// Find returns what is known of a flow's connection; false if that is
	// nothing. It must not wait for long: the flow does.
	Find(f *Flow) (Addition, bool)
}

// Flow is what a Source is asked about.
type Flow struct {
	// Tuple is in packet-header order: as the flow has it, but for the address
	// that the packet was sent from, where the flow says that it was translated.
	Tuple correlator.Tuple
	// Time is Unix nanoseconds, 0 if the flow has none.
	Time int64
	// Direction is as far as the flow says.
	Direction Direction
	// Opens marks a SYN without ACK.
	Opens bool
	// Network marks a packet as it is outside the node, where its Tuple may be
	// that after translation.
	Network bool
}

// Direction is which side of its connection sent a packet.
type Direction uint8

// The directions.
const (
	Unknown Direction = iota
	FromPod           // from the side that opened the connection
	Reply
)

// Tuples returns the tuples that the packets of the side that opened the
// connection may have, the likelier first.
func (f *Flow) Tuples() []correlator.Tuple {
	switch f.Direction {
	case FromPod:
		return []correlator.Tuple{f.Tuple}
	case Reply:
		return []correlator.Tuple{f.Tuple.Reverse()}
	}
	return []correlator.Tuple{f.Tuple, f.Tuple.Reverse()}
}

// Addition is what is added to a flow.
type Addition struct {
	// PreNAT is where the pod sends from, PostNAT where the server sees it.
	PreNAT, PostNAT correlator.Addr
	// Was is what PostNAT was before re-NATting; zero if it never changed.
	Was correlator.Addr
	// Incident that broke the connection; nil if none is known.
	Incident *Incident
}

// Incident is an incident in short.
type Incident struct{ ID, Kind, Cause, Outcome string }

// shortID is how much of an incident's id a Summary shows.
const shortID = 8

// between sets what is added to a Summary apart, from what it said and in itself.
const between = "; "

// AppendSummary appends the words that a flow's Summary gains to b.
func (a *Addition) AppendSummary(b []byte) []byte {
	apart := func() {
		if len(b) > 0 {
			b = append(b, between...)
		}
	}
	if !a.PostNAT.IsZero() {
		apart()
		b = append(b, "SNAT "...)
		b = a.PostNAT.AddrPort().AppendTo(b)
	}
	if !a.Was.IsZero() {
		if a.PostNAT.IsZero() {
			apart()
		} else {
			b = append(b, ' ')
		}
		b = append(b, "(was "...)
		if a.Was.IP != a.PostNAT.IP {
			b = a.Was.AddrPort().AppendTo(b)
		} else {
			b = strconv.AppendUint(append(b, ':'), uint64(a.Was.Port), 10)
		}
		b = append(b, ')')
	}
	if a.Incident != nil {
		apart()
		b = append(append(b, "renat:"...), a.Incident.ID[:min(shortID, len(a.Incident.ID))]...)
	}
	return b
}

// fields returns the extension's content: names and values in turn.
func (a *Addition) fields() (nat, incident []string) {
	if !a.PreNAT.IsZero() {
		nat = append(nat, "pre_nat", a.PreNAT.String())
	}
	if !a.PostNAT.IsZero() {
		nat = append(nat, "post_nat", a.PostNAT.String())
	}
	if i := a.Incident; i != nil {
		incident = []string{"id", i.ID, "kind", i.Kind, "cause", i.Cause, "outcome", i.Outcome}
	}
	return nat, incident
}
