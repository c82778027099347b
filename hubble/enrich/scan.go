// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"net/netip"
	"unsafe"

	"github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/renat-project/renat/correlator"
)

// Numbers of the fields that are looked at: of observer.GetFlowsResponse,
// flow.Flow, flow.IP, flow.Layer4 and its members (Cilium's api/v1).
const (
	responseFlow = 1

	flowTime       = 1
	flowIP         = 5
	flowL4         = 6
	flowPoint      = 24
	flowIsReply    = 26
	flowSummary    = 100000
	flowExtensions = 150000

	ipSource, ipDestination, ipXlated = 1, 2, 5

	l4TCP, l4UDP, l4SCTP = 1, 2, 5

	portSource, portDestination, tcpFlags = 1, 2, 3

	flagSYN, flagACK = 2, 5
)

// walk calls field for every field of an encoded message: with its number, its
// value if it is a varint, its content if it has a length, and where it lies.
// It reports whether the message is well-formed and field agreed to all.
func walk(msg []byte, field func(num protowire.Number, val uint64, data []byte, at span) bool) bool {
	for pos := 0; pos < len(msg); {
		num, typ, n := protowire.ConsumeTag(msg[pos:])
		if n < 0 {
			return false
		}
		rest := msg[pos+n:]
		var val uint64
		var data []byte
		var size int
		switch typ {
		case protowire.VarintType:
			val, size = protowire.ConsumeVarint(rest)
		case protowire.BytesType:
			data, size = protowire.ConsumeBytes(rest)
		default:
			size = protowire.ConsumeFieldValue(num, typ, rest)
		}
		if size < 0 {
			return false
		}
		at := span{pos, pos + n + size}
		if !field(num, val, data, at) {
			return false
		}
		pos = at.end
	}
	return true
}

// span is a part of a message.
type span struct{ start, end int }

func (s span) empty() bool { return s.start == s.end }

// scanned is what scan finds in an encoded flow.
type scanned struct {
	flow       Flow
	src, dst   netip.Addr
	xlated     []byte // what the source became
	point      flow.TraceObservationPoint
	seen       uint64 // by field number, of those below 64
	summary    span
	text       []byte // the summary's
	extensions bool
}

// once reports whether this is the first field of its number. Protobuf merges
// repeated ones, which no Hubble sends: such flows are left alone.
func (s *scanned) once(num protowire.Number) bool {
	bit := uint64(1) << num
	again := s.seen&bit != 0
	s.seen |= bit
	return !again
}

// scan reads a flow; false if nothing can be added to it: it is not
// well-formed, or has no ports.
func (s *scanned) scan(msg []byte) bool {
	ok := walk(msg, func(num protowire.Number, val uint64, data []byte, at span) bool {
		switch num {
		case flowTime:
			return s.once(num) && s.time(data)
		case flowIP:
			return s.once(num) && s.addresses(data)
		case flowL4:
			return s.once(num) && s.transport(data)
		case flowPoint:
			s.point = flow.TraceObservationPoint(val)
		case flowIsReply:
			return s.once(num) && s.reply(data)
		case flowSummary:
			if !s.summary.empty() {
				return false
			}
			s.summary, s.text = at, data
		case flowExtensions:
			s.extensions = true
		}
		return true
	})
	t := &s.flow.Tuple
	if !ok || t.Protocol == 0 || !s.src.IsValid() || !s.dst.IsValid() {
		return false
	}
	if len(s.xlated) > 0 {
		s.src, s.flow.Network = parseAddr(s.xlated), true
	}
	if !s.src.IsValid() {
		return false
	}
	t.Src.IP, t.Dst.IP = s.src.As16(), s.dst.As16()
	s.flow.Network = s.flow.Network || outside(s.point)
	if s.flow.Direction == Unknown && s.point == flow.TraceObservationPoint_TO_STACK {
		s.flow.Direction = FromPod
	}
	return true
}

// outside reports whether packets have the node's address there.
func outside(p flow.TraceObservationPoint) bool {
	return p == flow.TraceObservationPoint_TO_NETWORK || p == flow.TraceObservationPoint_FROM_NETWORK
}

func (s *scanned) time(msg []byte) bool {
	return walk(msg, func(num protowire.Number, val uint64, _ []byte, _ span) bool {
		switch num {
		case 1:
			s.flow.Time += int64(val) * 1e9
		case 2:
			s.flow.Time += int64(val)
		}
		return true
	})
}

func (s *scanned) reply(msg []byte) bool {
	s.flow.Direction = FromPod // a false BoolValue is empty
	return walk(msg, func(num protowire.Number, val uint64, _ []byte, _ span) bool {
		if num == 1 && val != 0 {
			s.flow.Direction = Reply
		}
		return true
	})
}

func (s *scanned) addresses(msg []byte) bool {
	return walk(msg, func(num protowire.Number, _ uint64, data []byte, _ span) bool {
		switch num {
		case ipSource:
			s.src = parseAddr(data)
		case ipDestination:
			s.dst = parseAddr(data)
		case ipXlated:
			s.xlated = data
		}
		return true
	})
}

// parseAddr returns the zero Addr for what is no plain IP address.
func parseAddr(b []byte) netip.Addr {
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b))) // an error, which keeps the text, is dropped
	if err != nil || a.Zone() != "" {
		return netip.Addr{}
	}
	return a
}

func (s *scanned) transport(msg []byte) bool {
	t := &s.flow.Tuple
	return walk(msg, func(num protowire.Number, _ uint64, data []byte, _ span) bool {
		protocol := map4(num)
		if t.Protocol != 0 || protocol == 0 {
			return false // none with ports, or several
		}
		t.Protocol = protocol
		return walk(data, func(num protowire.Number, val uint64, data []byte, _ span) bool {
			switch {
			case num == portSource && val <= 65535:
				t.Src.Port = uint16(val)
			case num == portDestination && val <= 65535:
				t.Dst.Port = uint16(val)
			case num == tcpFlags && protocol == correlator.TCP:
				return s.flags(data)
			case num == portSource || num == portDestination:
				return false
			}
			return true
		})
	})
}

func map4(member protowire.Number) correlator.Protocol {
	switch member {
	case l4TCP:
		return correlator.TCP
	case l4UDP:
		return correlator.UDP
	case l4SCTP:
		return correlator.SCTP
	}
	return 0
}

func (s *scanned) flags(msg []byte) bool {
	var syn, ack bool
	ok := walk(msg, func(num protowire.Number, val uint64, _ []byte, _ span) bool {
		switch num {
		case flagSYN:
			syn = val != 0
		case flagACK:
			ack = val != 0
		}
		return true
	})
	s.flow.Opens = syn && !ack
	return ok
}
