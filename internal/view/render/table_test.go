// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/view/render"
)

func draw(t *testing.T, width int, cells ...string) string {
	t.Helper()
	table := render.Table{Columns: []render.Column{{Title: "NAME", Name: true}, {Title: "SIZE", Right: true}, {Title: "WHY"}}, Width: width}
	for i := 0; i < len(cells); i += 3 {
		table.Add(cells[i : i+3]...)
	}
	var b strings.Builder
	if err := table.Flush(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTableFitsTheScreen(t *testing.T) {
	cells := []string{"ip-10-0-128-17.eu-central-1.compute.internal", "131072", "it held 40000 of 131072", "a", "7", ""}
	for width, want := range map[int]string{
		0: "NAME                                            SIZE  WHY\n" +
			"ip-10-0-128-17.eu-central-1.compute.internal  131072  it held 40000 of 131072\n" +
			"a                                                  7\n",
		60: "NAME                           SIZE  WHY\n" +
			"ip-10-0-128-17.eu….internal  131072  it held 40000 of 131072\n" +
			"a                                 7\n",
		10: "NAME            SIZE  WHY\n" + // names keep some characters, all else is whole
			"ip-10-0…rnal  131072  it held 40000 of 131072\n" +
			"a                  7\n",
	} {
		if got := draw(t, width, cells...); got != want {
			t.Errorf("%d characters:\n%s\nwant\n%s", width, got, want)
		}
	}
}

// What is cut out of a name begins and ends beside a number, not in it.
func TestShorteningLeavesNumbersWhole(t *testing.T) {
	for name, want := range map[string]string{
		"worker-1234567890-abcdefghij":                     "worker-…ghij",
		"shop/checkout-12345678":                           "shop/ch…",
		"[2001:db8:1:2:3:4:5:6]:44300":                     "[2001:db8:1:2:3:4:5:6]:44300",
		"10.120.130.140:443":                               "10.120.130.140:443",
		"ein-sehr-langer-name-einer-datenbank.example:443": "ein-seh…:443",
	} {
		line := strings.Split(draw(t, 10, name, "1", "x"), "\n")[1]
		if got, _, _ := strings.Cut(line, " "); got != want {
			t.Errorf("%s became %s, want %s", name, got, want)
		}
	}
}
