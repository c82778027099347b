// SPDX-License-Identifier: Apache-2.0

package hubble

import "google.golang.org/protobuf/encoding/protowire"

// Tags of the first fields of a message, by wire type.
const (
	varint1 = 1<<3 | uint64(protowire.VarintType)
	varint2 = 2<<3 | uint64(protowire.VarintType)
	varint9 = 9<<3 | uint64(protowire.VarintType)
	bytes1  = 1<<3 | uint64(protowire.BytesType)
	bytes2  = 2<<3 | uint64(protowire.BytesType)
	bytes3  = 3<<3 | uint64(protowire.BytesType)
	bytes4  = 4<<3 | uint64(protowire.BytesType)
	bytes5  = 5<<3 | uint64(protowire.BytesType)
	bytes6  = 6<<3 | uint64(protowire.BytesType)
	bytes7  = 7<<3 | uint64(protowire.BytesType)
)

// decode merges a google.protobuf.Timestamp.
func (s *stamp) decode(msg []byte) bool {
	s.set = true
	c := cursor{rest: msg}
	for c.next() {
		switch c.tag {
		case varint1:
			s.seconds = int64(c.val)
		case varint2:
			s.nanos = int32(c.val)
		}
	}
	return !c.bad
}

// decode merges a flow.LostEvent.
func (l *lostRecord) decode(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		switch c.tag {
		case varint1:
			l.source = int32(c.val)
		case varint2:
			l.count = c.val
		case bytes3: // cpu: an Int32Value
			c.bad = !wellFormed(c.data)
		case bytes4:
			c.bad = !l.first.decode(c.data)
		case bytes5:
			c.bad = !l.last.decode(c.data)
		}
		if c.bad {
			return false
		}
	}
	return !c.bad
}

// decodeIP merges a flow.IP.
func (f *flowRecord) decodeIP(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		switch c.tag {
		case bytes1:
			f.source = c.text()
		case bytes2:
			f.dest = c.text()
		case bytes5:
			f.xlated = c.text()
		}
		if c.bad {
			return false
		}
	}
	return !c.bad
}

// decodeEventType merges a flow.CiliumEventType.
func (f *flowRecord) decodeEventType(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		if c.tag == varint1 {
			f.eventType = int32(c.val)
		}
	}
	return !c.bad
}

// decodeL4 merges a flow.Layer4: of its members the last one counts, and it is
// merged only with what directly precedes it.
func (f *flowRecord) decodeL4(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		switch c.tag {
		case bytes1, bytes2, bytes5:
			f.setL4(int(c.tag >> 3))
			c.bad = !f.decodePorts(c.data)
		case bytes3, bytes4, bytes6: // ICMPv4, ICMPv6, VRRP: numbers only
			f.setL4(int(c.tag >> 3))
			c.bad = !wellFormed(c.data)
		case bytes7: // IGMP
			f.setL4(int(c.tag >> 3))
			c.bad = !validIGMP(c.data)
		}
		if c.bad {
			return false
		}
	}
	return !c.bad
}

func (f *flowRecord) setL4(member int) {
	if f.l4 != member {
		f.l4, f.sport, f.dport, f.flags = member, 0, 0, 0
	}
}

// decodePorts merges a flow.TCP, UDP or SCTP; the current member says which.
func (f *flowRecord) decodePorts(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		switch {
		case c.tag == varint1:
			f.sport = uint32(c.val)
		case c.tag == varint2:
			f.dport = uint32(c.val)
		case c.tag == bytes3 && f.l4 == l4TCP:
			if !f.decodeFlags(c.data) {
				return false
			}
		}
	}
	return !c.bad
}

// decodeFlags merges a flow.TCPFlags, whose fields are numbered like the bits.
func (f *flowRecord) decodeFlags(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		if c.tag < varint1 || c.tag > varint9 || protowire.Type(c.tag&7) != protowire.VarintType {
			continue
		}
		bit := uint(c.tag>>3) - 1
		f.flags &^= 1 << bit
		if c.val != 0 {
			f.flags |= 1 << bit
		}
	}
	return !c.bad
}

// wellFormed reports whether msg can be a message without strings and
// sub-messages.
func wellFormed(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
	}
	return !c.bad
}

// validIGMP checks a flow.IGMP, whose second field is a string.
func validIGMP(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		if c.tag == bytes2 {
			c.text()
		}
		if c.bad {
			return false
		}
	}
	return !c.bad
}
