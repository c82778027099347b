// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"unsafe"
)

// parseNATLine reads a line of map operations. Its strings may be views of the
// line, which must not change.
func parseNATLine(line []byte) (l natLine, err error) {
	if l.parse(line) {
		return l, nil
	}
	l = natLine{}
	return l, json.Unmarshal(line, &l)
}

// parse reads a line as Writer writes it. Not ok means that encoding/json has to;
// otherwise it would find the same.
func (l *natLine) parse(line []byte) bool {
	s := natScanner{rest: line}
	if !s.is('{') {
		return false
	}
	for {
		name := s.text()
		if s.bad || !s.is(':') {
			return false
		}
		switch name {
		case "time":
			l.Time = s.text()
		case "ktime_ns":
			l.KTime = s.number(18)
		case "op":
			l.Op = s.text()
		case "map":
			l.Map = s.text()
		case "dir":
			l.Dir = s.text()
		case "protocol":
			l.Protocol = s.text()
		case "src":
			l.Src = s.text()
		case "dst":
			l.Dst = s.text()
		case "to":
			l.To = s.text()
		case "created":
			l.Created = s.text()
		case "errno":
			l.Errno = int16(s.number(4)) //nolint:gosec // 9999 at most
		case "forced":
			l.Forced = s.boolean()
		case "flags":
			l.Flags = uint8(s.number(2)) //nolint:gosec // 99 at most
		case "program":
			l.Program = s.text()
		case "comm":
			l.Comm = s.text()
		case "cpu":
			l.CPU = uint16(s.number(4)) //nolint:gosec // 9999 at most
		case "max_entries":
			l.MaxEntries = uint32(s.number(9)) //nolint:gosec // a thousand million at most
		default: // losses are few
			return false
		}
		if s.bad {
			return false
		}
		if s.is('}') {
			return len(s.rest) == 0
		}
		if !s.is(',') {
			return false
		}
	}
}

// natScanner reads JSON without white space.
type natScanner struct {
	rest []byte
	bad  bool
}

func (s *natScanner) is(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// text reads a string of plain ASCII without escapes.
func (s *natScanner) text() string {
	if s.is('"') {
		for i, c := range s.rest {
			if c == '"' {
				text := unsafe.String(unsafe.SliceData(s.rest), i)
				s.rest = s.rest[i+1:]
				return text
			}
			if c == '\\' || c < ' ' || c >= 0x80 {
				break
			}
		}
	}
	s.bad = true
	return ""
}

// number reads a whole number of so many digits at most.
func (s *natScanner) number(digits int) (n uint64) {
	i := 0
	for ; i < len(s.rest) && i <= digits && s.rest[i] >= '0' && s.rest[i] <= '9'; i++ {
		n = n*10 + uint64(s.rest[i]-'0')
	}
	if i == 0 || i > digits || i > 1 && s.rest[0] == '0' {
		s.bad = true
		return 0
	}
	s.rest = s.rest[i:]
	return n
}

func (s *natScanner) boolean() bool {
	switch {
	case len(s.rest) >= 4 && string(s.rest[:4]) == "true":
		s.rest = s.rest[4:]
		return true
	case len(s.rest) >= 5 && string(s.rest[:5]) == "false":
		s.rest = s.rest[5:]
		return false
	}
	s.bad = true
	return false
}
