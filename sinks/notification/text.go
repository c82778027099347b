// SPDX-License-Identifier: Apache-2.0

package notification

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s on one line: every control character, and every one that
// changes the direction of writing, becomes a space, and what is not UTF-8
// the replacement character.
func Line(s string) string { return plain(s, false) }

// Lines is Line, but keeps the line breaks.
func Lines(s string) string { return plain(s, true) }

func plain(s string, breaks bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case breaks && r == '\n':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// Cut returns s, or its beginning with an ellipsis: at most n bytes, and whole
// characters. n must be at least 3.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	end := n - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
