// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Parts are the fields of a flow that may be added to.
type Parts struct{ Summary, Extensions bool }

// Response returns an encoded observer.GetFlowsResponse with what source knows
// of its flow, in memory of at least the size that it asks get for. It returns
// false where there is nothing to add: msg is to be used as it is then.
func Response(source Source, parts Parts, msg []byte, get func(size int) []byte) ([]byte, bool) {
	var at span
	var content []byte
	flows := 0
	if !walk(msg, func(num protowire.Number, _ uint64, data []byte, where span) bool {
		if num == responseFlow {
			at, content = where, data
			flows++
		}
		return flows < 2
	}) || content == nil {
		return nil, false
	}
	var s scanned
	if !s.scan(content) {
		return nil, false
	}
	parts.Extensions = parts.Extensions && !s.extensions
	if !parts.Summary && !parts.Extensions {
		return nil, false
	}
	a, found := source.Find(&s.flow)
	if !found {
		return nil, false
	}
	var added []byte
	kept := [2][]byte{content}
	if parts.Summary {
		kept = [2][]byte{content[:s.summary.start], content[s.summary.end:]}
		added = appendField(added, flowSummary, a.AppendSummary(slices.Clone(s.text)))
	}
	if parts.Extensions {
		added = appendField(added, flowExtensions, a.appendAny(nil))
	}
	size := len(kept[0]) + len(kept[1]) + len(added)
	total := len(msg) - (at.end - at.start) + protowire.SizeTag(responseFlow) + protowire.SizeBytes(size)
	out := get(total)[:0]
	out = append(out, msg[:at.start]...)
	out = protowire.AppendTag(out, responseFlow, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(size))
	for _, b := range [][]byte{kept[0], kept[1], added, msg[at.end:]} {
		out = append(out, b...)
	}
	return out, true
}

func appendField(b []byte, num protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), content)
}

// structURL is the type of the extension: of every other one hubble observe -o
// json would give up.
const structURL = "type.googleapis.com/google.protobuf.Struct"

// appendAny appends the encoded google.protobuf.Any that holds the Struct.
func (a *Addition) appendAny(b []byte) []byte {
	nat, incident := a.fields()
	content := appendText(nil, nat)
	if incident != nil {
		content = appendEntry(content, "incident", appendField(nil, valueStruct, appendText(nil, incident)))
	}
	whole := appendEntry(nil, "renat", appendField(nil, valueStruct, content))
	return appendField(appendField(b, 1, []byte(structURL)), 2, whole)
}

// Numbers of google.protobuf.Value's members.
const (
	valueString = 3
	valueStruct = 5
)

// appendText appends names and values as entries of a Struct.
func appendText(b []byte, pairs []string) []byte {
	for p := range slices.Chunk(pairs, 2) {
		b = appendEntry(b, p[0], appendField(nil, valueString, []byte(p[1])))
	}
	return b
}

// appendEntry appends one entry of a Struct's map.
func appendEntry(b []byte, name string, value []byte) []byte {
	return appendField(b, 1, appendField(appendField(nil, 1, []byte(name)), 2, value))
}
