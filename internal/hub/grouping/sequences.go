// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
)

// Sequences is a sorted set of stream sequences. In JSON it is the distances
// from one to the next as varints: two bytes or fewer for most.
type Sequences []uint64

// Has reports whether seq is in the set.
func (s Sequences) Has(seq uint64) bool {
	_, ok := slices.BinarySearch(s, seq)
	return ok
}

// MarshalJSON implements json.Marshaler.
func (s Sequences) MarshalJSON() ([]byte, error) {
	b, last := []byte{}, uint64(0)
	for _, seq := range s {
		b = binary.AppendUvarint(b, seq-last)
		last = seq
	}
	return json.Marshal(b)
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Sequences) UnmarshalJSON(data []byte) error {
	var b []byte
	if err := json.Unmarshal(data, &b); err != nil {
		return err
	}
	*s = nil
	for last := uint64(0); len(b) > 0; {
		d, n := binary.Uvarint(b)
		if n <= 0 {
			return errors.New("sequences are garbled")
		}
		last += d
		*s = append(*s, last)
		b = b[n:]
	}
	return nil
}
