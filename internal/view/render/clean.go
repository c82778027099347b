// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
)

// Clean replaces what a terminal would obey.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if obeyed(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func obeyed(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// CleanJSON escapes what a terminal would obey and JSON lets stand as it is, which
// is in strings only: it means the same.
func CleanJSON(b []byte) []byte {
	risky := func(r rune) bool { return r >= unicode.MaxASCII && obeyed(r) }
	if bytes.IndexFunc(b, risky) < 0 {
		return b
	}
	var out bytes.Buffer
	for _, r := range string(b) {
		if risky(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}
