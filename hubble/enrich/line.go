// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"time"
)

// Line returns a line of hubble observe -o jsonpb with what source knows of
// its flow. Every other line, and what is not understood, is returned as it
// is; all else of the line stays as it is, too.
func Line(source Source, line []byte) []byte {
	var r jsonResponse
	at, ok := locate(line)
	if !ok || json.Unmarshal(line, &r) != nil {
		return line
	}
	f, ok := r.Flow.flow()
	if !ok {
		return line
	}
	a, found := source.Find(&f)
	if !found {
		return line
	}
	added, err := json.Marshal(string(a.AppendSummary(nil)))
	if err != nil {
		return line
	}
	var out []byte
	switch had := line[at.summary.start:at.summary.end]; {
	case len(had) == 0:
		out = append(append(append(out, line[:at.end]...), `,"Summary":`...), added...)
	case had[0] == '"' && len(had) > 2:
		out = append(append(append(out, line[:at.summary.end-1]...), between...), added[1:]...)
		out = append(out, line[at.summary.end:at.end]...)
	default: // empty, or null
		out = append(append(append(out, line[:at.summary.start]...), added...), line[at.summary.end:at.end]...)
	}
	if !at.extensions {
		out = append(append(out, `,"extensions":`...), a.json()...)
	}
	return append(out, line[at.end:]...)
}

// json returns the extension as protobuf's JSON has it.
func (a *Addition) json() []byte {
	nat, incident := a.fields()
	renat := map[string]any{}
	fill := func(m map[string]any, pairs []string) {
		for n := 0; n < len(pairs); n += 2 {
			m[pairs[n]] = pairs[n+1]
		}
	}
	fill(renat, nat)
	if incident != nil {
		m := map[string]any{}
		fill(m, incident)
		renat["incident"] = m
	}
	b, _ := json.Marshal(map[string]any{"@type": structURL, "value": map[string]any{"renat": renat}}) // strings only: it cannot fail
	return b
}

// place is where a line's flow can be added to.
type place struct {
	end        int  // of the flow: its closing brace
	summary    span // the value of Summary
	extensions bool
}

var errShape = errors.New("not of a flow's shape")

// locate finds the flow of a line. It refuses lines in which a name is there
// twice, as protobuf's JSON does, and flows without a field.
func locate(line []byte) (place, bool) {
	var p place
	d := json.NewDecoder(bytes.NewReader(line))
	found := 0
	err := object(d, func(name string) error {
		if name != "flow" {
			return skip(d)
		}
		found++
		fields := 0
		err := object(d, func(name string) error {
			fields++
			start := int(d.InputOffset())
			if err := skip(d); err != nil {
				return err
			}
			switch name {
			case "Summary":
				if !p.summary.empty() {
					return errShape
				}
				value := bytes.TrimLeft(line[start:d.InputOffset()], ": \t\r\n")
				p.summary = span{int(d.InputOffset()) - len(value), int(d.InputOffset())}
			case "extensions":
				p.extensions = true
			}
			return nil
		})
		p.end = int(d.InputOffset()) - 1
		if fields == 0 {
			return errShape
		}
		return err
	})
	return p, err == nil && found == 1 && len(bytes.TrimSpace(line[d.InputOffset():])) == 0
}

// object reads an object, calling field where the value of each name is next.
func object(d *json.Decoder, field func(name string) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errShape
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return errShape
		}
		if err := field(name); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// skip reads one value.
func skip(d *json.Decoder) error {
	var raw json.RawMessage
	return d.Decode(&raw)
}

// unixNano returns 0 for what has no such time.
func unixNano(s string) int64 {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1970 || t.Year() > 2199 {
		return 0
	}
	return t.UnixNano()
}

// number is a JSON number of protobuf's, which may be quoted.
type number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(bytes.Trim(b, `"`), &f); err != nil {
		return err
	}
	if f != math.Trunc(f) {
		return errShape
	}
	*n = number(f)
	return nil
}
