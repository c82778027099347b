// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// ColorModes are the values of --color.
var ColorModes = []string{"auto", "always", "never"}

// CheckColor says whether mode is one of ColorModes.
func CheckColor(mode string) error {
	if !slices.Contains(ColorModes, mode) {
		return fmt.Errorf("--color %q is not one of %s", mode, strings.Join(ColorModes, ", "))
	}
	return nil
}

// Colored says whether to colour what is written to w.
func Colored(w io.Writer, mode string) bool {
	if mode != "auto" {
		return mode == "always"
	}
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// IsTerminal says whether w is one.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

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
