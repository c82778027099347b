// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"errors"
	"math"
	"net/netip"

	"github.com/cilium/cilium/api/v1/flow"

	"github.com/renat-project/renat/correlator"
)

// Reasons why a response that is sound protobuf is of no use. They are fixed
// values: a stream of bad flows costs no memory.
var (
	errTime    = errors.New("the flow's time is missing or out of range")
	errAddress = errors.New("the flow's source, destination or source_xlated is not an IP address")
	errPort    = errors.New("the flow's port is out of range")
)

// stamp is a protobuf time stamp as it was sent.
type stamp struct {
	set     bool
	nanos   int32
	seconds int64
}

// unix returns nanoseconds since 1970, and whether s is a valid time that
// fits them (years 1678 to 2262).
func (s stamp) unix() (int64, bool) {
	const limit = math.MaxInt64 / 1_000_000_000
	ok := s.set && s.nanos >= 0 && s.nanos < 1_000_000_000 && s.seconds > -limit && s.seconds < limit
	if !ok {
		return 0, false
	}
	return s.seconds*1_000_000_000 + int64(s.nanos), true
}

// Which member of a response was set.
const (
	variantNone = iota
	variantFlow
	variantLost
	variantOther
)

// record is what both decoders read from a response, not yet judged. Its
// strings may be views of the message: they must not outlive it.
type record struct {
	variant int
	outer   stamp // the response's own time
	flow    flowRecord
	lost    lostRecord
}

type flowRecord struct {
	time         stamp
	uuid         string
	source, dest string // addresses
	xlated       string // source_xlated
	l4           int    // number of Layer4's member; 0 if none
	sport, dport uint32
	flags        correlator.TCPFlags
	eventType    int32
	point        int32
	reason       int32
	drop         int32
}

type lostRecord struct {
	source      int32
	count       uint64
	first, last stamp
}

// event turns the record into what the correlator needs, all but the peers of
// a flow. Not ok means that there is nothing to emit, which is no fault.
func (r *record) event(ev *correlator.Event) (ok bool, err error) {
	*ev = correlator.Event{}
	switch r.variant {
	case variantFlow:
		return r.flow.event(ev)
	case variantLost:
		r.lost.event(ev, r.outer)
		return true, nil
	}
	return false, nil
}

func (f *flowRecord) event(ev *correlator.Event) (bool, error) {
	proto, point := f.protocol(), f.observed()
	if proto == 0 || point == correlator.UnknownPoint {
		return false, nil
	}
	var ok bool
	if ev.Time, ok = f.time.unix(); !ok {
		return false, errTime
	}
	src, dst := parseIP(f.source), parseIP(f.dest)
	if !src.IsValid() || !dst.IsValid() {
		return false, errAddress
	}
	var xlated [16]byte
	if f.xlated != "" {
		a := parseIP(f.xlated)
		if !a.IsValid() {
			return false, errAddress
		}
		xlated = a.As16()
	}
	if f.sport > math.MaxUint16 || f.dport > math.MaxUint16 {
		return false, errPort
	}
	ev.Kind = correlator.KindFlow
	ev.Tuple = correlator.Tuple{
		Src:      correlator.Addr{IP: src.As16(), Port: uint16(f.sport)},
		Dst:      correlator.Addr{IP: dst.As16(), Port: uint16(f.dport)},
		Protocol: proto,
	}
	ev.Flow.Flags, ev.Flow.Point, ev.Flow.Xlated = f.flags, point, xlated
	if f.reason >= 0 && f.reason <= math.MaxUint8 {
		ev.Flow.Reason = correlator.Reason(f.reason)
	}
	if point == correlator.Dropped && f.drop >= 0 && f.drop <= math.MaxUint16 {
		ev.Flow.DropReason = uint16(f.drop)
	}
	return true, nil
}

// Numbers of the members of flow.Layer4 that have ports.
const (
	l4TCP  = 1
	l4UDP  = 2
	l4SCTP = 5
)

// protocol returns 0 for protocols that renat does not follow.
func (f *flowRecord) protocol() correlator.Protocol {
	switch f.l4 {
	case l4TCP:
		return correlator.TCP
	case l4UDP:
		return correlator.UDP
	case l4SCTP:
		return correlator.SCTP
	}
	return 0
}

// observed returns UnknownPoint for flows that were not asked for: a server
// may know fewer filters than this client.
func (f *flowRecord) observed() correlator.Point {
	if f.eventType == eventDrop {
		return correlator.Dropped
	}
	switch flow.TraceObservationPoint(f.point) {
	case flow.TraceObservationPoint_TO_STACK:
		return correlator.ToStack
	case flow.TraceObservationPoint_TO_ENDPOINT:
		return correlator.ToEndpoint
	case flow.TraceObservationPoint_TO_NETWORK:
		return correlator.ToNetwork
	case flow.TraceObservationPoint_TO_OVERLAY:
		return correlator.ToOverlay
	}
	return correlator.UnknownPoint
}

// parseIP returns the zero Addr for anything but a plain IP address.
func parseIP(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}
	}
	return a
}

// event leaves Time 0 if the response had none.
func (l *lostRecord) event(ev *correlator.Event, at stamp) {
	ev.Kind = correlator.KindLoss
	ev.Time, _ = at.unix()
	ev.Loss = correlator.Loss{From: correlator.LossHubbleQueue, Count: l.count, First: ev.Time, Last: ev.Time}
	switch flow.LostEventSource(l.source) {
	case flow.LostEventSource_PERF_EVENT_RING_BUFFER:
		ev.Loss.From = correlator.LossHubblePerf
	case flow.LostEventSource_HUBBLE_RING_BUFFER:
		ev.Loss.From = correlator.LossHubbleRing
	}
	if t, ok := l.first.unix(); ok {
		ev.Loss.First = t
	}
	if t, ok := l.last.unix(); ok {
		ev.Loss.Last = t
	}
}
