// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"

	"github.com/renat-project/renat/correlator/incident"
)

// columns are wide enough for most: a table that grows cannot be aligned later.
const columns = "%-19s  %-36s  %-36s  %-8s  %-14s  %-21s  %-21s  %-24s  %s\n"

// table is one row, and before the first the names of the columns.
func (w *Writer) table(i *incident.Incident) string {
	head := ""
	if w.written == 0 {
		head = fmt.Sprintf(columns, "TIMESTAMP", "SOURCE", "DESTINATION", "PROTOCOL", "KIND", "NAT BEFORE", "NAT AFTER", "CAUSE", "OUTCOME")
	}
	after := i.NAT.After
	if after == "" {
		after = "-"
	}
	return head + fmt.Sprintf(columns, i.Time.In(w.zone).Format(timeFormat), party(&i.Source), party(&i.Destination),
		Clean(i.Protocol), Clean(string(i.Kind)), Clean(i.NAT.Before), Clean(after), Clean(causeWords(i)), w.outcome(i.Outcome))
}
