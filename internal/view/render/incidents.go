// SPDX-License-Identifier: Apache-2.0

package render

import (
	"github.com/renat-project/renat/correlator/incident"
)

func newTable() *Table {
	t := &Table{}
	for _, title := range []string{"TIMESTAMP", "ID", "NODE", "SOURCE", "DESTINATION", "PROTOCOL", "KIND", "NAT BEFORE", "NAT AFTER", "CAUSE", "OUTCOME"} {
		t.Columns = append(t.Columns, Column{Title: title})
	}
	return t
}

// row adds an incident to the table.
func (w *Writer) row(i *incident.Incident) {
	after := i.NAT.After
	if after == "" {
		after = "-"
	}
	w.rows.Add(w.stamp(i.Time), i.ShortID(), nodeName(i), party(&i.Source), party(&i.Destination),
		i.Protocol, string(i.Kind), i.NAT.Before, after, causeWords(i), string(i.Outcome))
	w.outcomes = append(w.outcomes, i.Outcome)
}

// flush writes the rows that wait.
func (w *Writer) flush() error {
	w.rows.Paint = func(row, column int, text string) string {
		if column == len(w.rows.Columns)-1 && w.outcomes[row] != incident.Unconfirmed {
			return w.red("%s", text)
		}
		return text
	}
	err := w.rows.Flush(w.w)
	w.outcomes = nil
	return err
}
