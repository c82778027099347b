// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// cursor walks over the fields of one encoded message. It accepts and rejects
// what the generated decoder does.
type cursor struct {
	rest []byte
	bad  bool

	// The field that next found: its tag (number and wire type as encoded),
	// its value if that is a varint, its content if it has a length.
	tag  uint64
	val  uint64
	data []byte
}

// tagOf returns the tag of a field.
func tagOf(num protowire.Number, typ protowire.Type) uint64 { return protowire.EncodeTag(num, typ) }

// next moves on to the next field; false at the end, or when the message is
// malformed, which sets bad.
func (c *cursor) next() bool {
	if len(c.rest) == 0 {
		return false
	}
	tag, n := consumeVarint(c.rest)
	if n < 0 || tag>>3 < uint64(protowire.MinValidNumber) || tag>>3 > uint64(protowire.MaxValidNumber) {
		c.bad = true
		return false
	}
	b, m := c.rest[n:], 0
	switch typ := protowire.Type(tag & 7); typ {
	case protowire.VarintType:
		c.val, m = consumeVarint(b)
	case protowire.BytesType:
		var size uint64
		if size, m = consumeVarint(b); m >= 0 {
			if size > uint64(len(b)-m) {
				c.bad = true
				return false
			}
			c.data = b[m : m+int(size)]
			m += int(size)
		}
	default:
		m = protowire.ConsumeFieldValue(protowire.Number(tag>>3), typ, b)
	}
	if m < 0 {
		c.bad = true
		return false
	}
	c.tag, c.rest = tag, b[m:]
	return true
}

// consumeVarint is protowire.ConsumeVarint with the common case, one byte,
// small enough to be inlined.
func consumeVarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return protowire.ConsumeVarint(b)
}

// text returns the field's content as a string that is valid as long as the
// message is; it marks the message bad if the content is not UTF-8.
func (c *cursor) text() string {
	if !utf8.Valid(c.data) {
		c.bad = true
		return ""
	}
	return unsafe.String(unsafe.SliceData(c.data), len(c.data))
}
