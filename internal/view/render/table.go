// SPDX-License-Identifier: Apache-2.0

package render

import (
	"io"
	"net/netip"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Column of a Table.
type Column struct {
	Title string
	// Name: what it holds may be shortened where Width is too little, the
	// middle goes. It is for names, which differ at both ends: a number or a
	// sentence that is shortened says something else.
	Name  bool
	Right bool // aligned to the right: numbers
}

const (
	gap = 2 // characters between columns
	// leastName is how short a name may become, in characters.
	leastName = 12
)

// Table aligns cells, as kubectl's tables: without lines, two spaces between
// columns, none at the ends. What cells say is cleaned of what a terminal
// would obey.
type Table struct {
	Columns []Column
	// Width of the screen in characters; 0: names are never shortened.
	Width int
	// NoTitles leaves out the first line.
	NoTitles bool
	// Paint colours a cell that has been cleaned; may be nil.
	Paint func(row, column int, text string) string

	rows   [][]string
	titled bool
	// widths that what was written before needed.
	widths []int
}

// style is kubectl's.
var style = table.Style{
	Name: "plain", Box: table.BoxStyle{PaddingRight: "  "},
	Format:  table.FormatOptions{Header: text.FormatDefault},
	Options: table.OptionsNoBordersAndSeparators,
}

// Add adds a row.
func (t *Table) Add(cells ...string) {
	for i := range cells {
		cells[i] = Clean(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// Len is how many rows wait to be written.
func (t *Table) Len() int { return len(t.rows) }

// Flush writes the rows that wait, the titles before the first, as wide as
// they and the earlier ones need.
func (t *Table) Flush(w io.Writer) error {
	out := table.NewWriter()
	out.SetStyle(style)
	out.SuppressTrailingSpaces()
	titles := make(table.Row, len(t.Columns))
	configs := make([]table.ColumnConfig, len(t.Columns))
	t.measure()
	for i, c := range t.Columns {
		titles[i] = c.Title
		configs[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignLeft, AlignHeader: text.AlignLeft, WidthMin: t.widths[i]}
		if c.Right {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	out.SetColumnConfigs(configs)
	if !t.titled && !t.NoTitles {
		out.AppendHeader(titles)
	}
	t.titled = true
	for n, row := range t.rows {
		cells := make(table.Row, len(row))
		for i, cell := range row {
			if t.Columns[i].Name {
				cell = shorten(cell, t.widths[i])
			}
			if t.Paint != nil {
				cell = t.Paint(n, i, cell)
			}
			cells[i] = cell
		}
		out.AppendRow(cells)
	}
	t.rows = t.rows[:0]
	lines := out.Render()
	if lines == "" {
		return nil
	}
	_, err := io.WriteString(w, lines+"\n")
	return err
}

// measure finds how wide the columns are.
func (t *Table) measure() {
	for len(t.widths) < len(t.Columns) {
		t.widths = append(t.widths, 0)
	}
	for i, c := range t.Columns {
		if !t.NoTitles {
			t.widths[i] = max(t.widths[i], text.StringWidth(c.Title))
		}
		for _, row := range t.rows {
			t.widths[i] = max(t.widths[i], text.StringWidth(row[i]))
		}
	}
	total := gap * (len(t.widths) - 1)
	for _, w := range t.widths {
		total += w
	}
	for ; t.Width > 0 && total > t.Width; total-- {
		widest := -1
		for i, c := range t.Columns {
			if c.Name && t.widths[i] > leastName && (widest < 0 || t.widths[i] > t.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return // the terminal breaks the lines
		}
		t.widths[widest]--
	}
}

// shorten cuts the middle of a name out, and no number in two. Addresses are
// numbers throughout.
func shorten(s string, most int) string {
	if text.StringWidth(s) <= most || isAddress(s) {
		return s
	}
	r := []rune(s)
	head := (most - 1) * 2 / 3
	tail := len(r) - (most - 1 - head)
	for head > 0 && unicode.IsDigit(r[head-1]) && unicode.IsDigit(r[head]) {
		head--
	}
	for tail > 0 && tail < len(r) && unicode.IsDigit(r[tail-1]) && unicode.IsDigit(r[tail]) {
		tail++
	}
	return string(r[:head]) + "…" + string(r[tail:])
}

func isAddress(s string) bool {
	_, err := netip.ParseAddrPort(s)
	if err != nil {
		_, err = netip.ParseAddr(s)
	}
	return err == nil
}
