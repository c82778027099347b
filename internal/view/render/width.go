// SPDX-License-Identifier: Apache-2.0

package render

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

// Width is how wide the screen behind w is, in characters: what the
// environment's COLUMNS says, else the terminal; 0: w is none.
func Width(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 0
}
