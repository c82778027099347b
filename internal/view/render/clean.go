// SPDX-License-Identifier: Apache-2.0

package render

import (
	"strings"
	"unicode"
)

// Clean replaces what a terminal would obey.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
