// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/renat-project/renat/internal/view/render"
)

// column of a table.
type column struct {
	title string
	most  int  // characters that are shown, the middle goes; 0: all
	right bool // aligned to the right: numbers
}

// table aligns cells. What cells say is cleaned of what a terminal would obey.
type table struct {
	columns []column
	rows    [][]string
	paint   func(row, column int, text string) string // colours a padded cell; may be nil
}

// gap is between columns.
const gap = "  "

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = shorten(render.Clean(cells[i]), t.columns[i].most)
	}
	t.rows = append(t.rows, cells)
}

// writeTo writes titles and rows, without spaces at the ends of lines.
func (t *table) writeTo(w io.Writer) error {
	widths := make([]int, len(t.columns))
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	for n, row := range append([][]string{titles}, t.rows...) {
		line := make([]string, len(row))
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case t.columns[i].right:
				cell = pad + cell
			case i < len(row)-1:
				cell += pad
			}
			if n > 0 && t.paint != nil {
				cell = t.paint(n-1, i, cell)
			}
			line[i] = cell
		}
		b.WriteString(strings.TrimRight(strings.Join(line, gap), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shorten cuts the middle of s out: names differ at both ends.
func shorten(s string, most int) string {
	r := []rune(s)
	if most == 0 || len(r) <= most {
		return s
	}
	head := (most - 1) * 2 / 3
	return string(r[:head]) + "…" + string(r[len(r)-(most-1-head):])
}
