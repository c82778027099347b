// SPDX-License-Identifier: Apache-2.0

package jsonpb

import (
	"time"
	"unsafe"

	"github.com/cilium/cilium/api/v1/observer"
)

// Reader reads lines that hold a flow, and of a flow only what the correlator,
// the filters of a Client and the check of a file's completeness need.
type Reader struct {
	line []byte
	at   int
	flow message
}

// Flow reads a line. Not ok means that Parse has to: the line holds no flow, or
// anything that flows seldom do. Otherwise Parse would accept the line, and the
// response is the same but for fields that are left out. It and its strings are
// valid until the next call, and as long as the line is.
func (r *Reader) Flow(line []byte) (resp *observer.GetFlowsResponse, ok bool) {
	r.line, r.at = line, 0
	r.flow.resp.Reset()
	if !r.message(response) || r.flow.resp.ResponseTypes == nil {
		return nil, false
	}
	r.space()
	return &r.flow.resp, r.at == len(line)
}

// space skips white space.
func (r *Reader) space() {
	for r.at < len(r.line) {
		switch r.line[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

// is skips white space and, if it follows, a character.
func (r *Reader) is(c byte) bool {
	r.space()
	if r.at < len(r.line) && r.line[r.at] == c {
		r.at++
		return true
	}
	return false
}

// message reads an object.
func (r *Reader) message(s shape) bool {
	if !r.is('{') {
		return false
	}
	if r.is('}') {
		return true
	}
	var seen uint64
	for {
		name, ok := r.text()
		f := s[name]
		if !ok || f == nil || seen&f.once != 0 || !r.is(':') {
			return false
		}
		seen |= f.once
		if f.list {
			ok = r.list(f)
		} else {
			ok = r.value(f)
		}
		if !ok {
			return false
		}
		if r.is('}') {
			return true
		}
		if !r.is(',') {
			return false
		}
	}
}

func (r *Reader) list(f *field) bool {
	if !r.is('[') {
		return false
	}
	if r.is(']') {
		return true
	}
	for {
		if !r.value(f) {
			return false
		}
		if r.is(']') {
			return true
		}
		if !r.is(',') {
			return false
		}
	}
}

// value reads one and takes it.
func (r *Reader) value(f *field) bool {
	var v value
	var ok bool
	switch f.kind {
	case kindText:
		v.text, ok = r.text()
	case kindBool:
		v.number, ok = r.boolean()
	case kindNumber32:
		r.space()
		v.number, ok = r.number(9)
	case kindNumber64:
		quoted := r.is('"') // as protojson writes them
		v.number, ok = r.number(18)
		ok = ok && (!quoted || r.at < len(r.line) && r.line[r.at] == '"')
		if quoted {
			r.at++
		}
	case kindEnum:
		var n int32
		if v.text, ok = r.text(); ok {
			n, ok = f.names[v.text]
		}
		v.number = int64(n)
	case kindTime:
		if v.text, ok = r.text(); ok {
			v.number, v.nanos, ok = parseTime(v.text)
		}
	case kindMessage:
		if f.take != nil {
			f.take(r, v)
		}
		return r.message(f.of)
	}
	if ok && f.take != nil {
		f.take(r, v)
	}
	return ok
}

// text reads a string of plain ASCII without escapes.
func (r *Reader) text() (string, bool) {
	if !r.is('"') {
		return "", false
	}
	for i := r.at; i < len(r.line); i++ {
		switch c := r.line[i]; {
		case c == '"':
			s := unsafe.String(unsafe.SliceData(r.line[r.at:]), i-r.at)
			r.at = i + 1
			return s, true
		case c == '\\' || c < ' ' || c >= 0x80:
			return "", false
		}
	}
	return "", false
}

func (r *Reader) boolean() (int64, bool) {
	r.space()
	rest := r.line[r.at:]
	switch {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		r.at += 4
		return 1, true
	case len(rest) >= 5 && string(rest[:5]) == "false":
		r.at += 5
		return 0, true
	}
	return 0, false
}

// number reads a whole number that is not negative, of so many digits at most.
func (r *Reader) number(digits int) (n int64, ok bool) {
	begin := r.at
	for ; r.at < len(r.line) && r.line[r.at] >= '0' && r.line[r.at] <= '9'; r.at++ {
		if r.at-begin == digits {
			return 0, false
		}
		n = n*10 + int64(r.line[r.at]-'0')
	}
	length := r.at - begin
	return n, length == 1 || length > 1 && r.line[begin] != '0'
}

// parseTime reads a time in UTC, as protojson writes it, between 1970 and 2199.
func parseTime(s string) (seconds int64, nanos int32, ok bool) {
	const layout = "2006-01-02T15:04:05"
	if len(s) < len(layout)+1 || s[len(s)-1] != 'Z' || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, 0, false
	}
	var parts [6]int
	for i, at := range [6][2]int{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}} {
		n, ok := digits(s[at[0]:at[1]])
		if !ok {
			return 0, 0, false
		}
		parts[i] = n
	}
	year, month, day := parts[0], time.Month(parts[1]), parts[2]
	if year < 1970 || year > 2199 || month < 1 || month > 12 || day < 1 || day > 28 && day > monthDays(year, month) ||
		parts[3] > 23 || parts[4] > 59 || parts[5] > 59 {
		return 0, 0, false
	}
	if fraction := s[len(layout) : len(s)-1]; fraction != "" {
		n, ok := digits(fraction[1:])
		if fraction[0] != '.' || len(fraction) < 2 || len(fraction) > 10 || !ok {
			return 0, 0, false
		}
		for range 10 - len(fraction) {
			n *= 10
		}
		nanos = int32(n)
	}
	return time.Date(year, month, day, parts[3], parts[4], parts[5], 0, time.UTC).Unix(), nanos, true
}

func monthDays(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
