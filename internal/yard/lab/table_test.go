// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// What README.md shows of make demo is what the laboratory prints of such a run:
// its numbers, read and printed again, with their sums.
func TestDemoOfTheReadme(t *testing.T) {
	page, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(page), "$ make demo\n")
	block, _, closed := strings.Cut(block, "```")
	begin := strings.Index(block, "\nLinux ")
	if !ok || !closed || begin < 0 {
		t.Fatal("README.md shows no run of make demo")
	}
	shown := block[begin+1:]
	var r Result
	var seconds int
	var p50, p99 string
	lines := strings.Split(shown, "\n")
	scan := func(line, format string, into ...any) {
		if _, err := fmt.Sscanf(line, format, into...); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	scan(strings.NewReplacer(",", " ", "s of traffic", " of traffic").Replace(lines[0]), "Linux %s IPv4 NAT map of %d entries restore %s %d of traffic", &r.Kernel, &r.MapSize, &r.Restore, &seconds)
	r.Duration = time.Duration(seconds) * time.Second
	s := &score{rows: map[Class]*Row{}}
	all := plans[""].classes()
	for n, c := range all {
		row := &Row{}
		var rate string
		scan(lines[3+n], "%s %d %d %s %% %d %d %d %d %d", &row.Class, &row.Connections, &row.Broken, &rate, &row.Named, &row.Missed, &row.False, &row.Other, &row.Survived)
		if row.Class != c {
			t.Errorf("row %d is of %s, not of %s", n, row.Class, c)
		}
		s.rows[c] = row
	}
	r.Classes, r.Total = s.table()
	rest := lines[3+len(all)+2:]
	scan(strings.ReplaceAll(rest[0], ";", " "), "%d evictions from the NAT map %d connections could not be opened %d packets", &r.Evictions, &r.Unopened, &r.Lost)
	scan(strings.ReplaceAll(rest[1], ",", " "), "from the RST's flow to the stored incident: p50 %s p99 %s of %d", &p50, &p99, &r.Latency.Incidents)
	if r.Latency.P50, err = time.ParseDuration(p50); err != nil {
		t.Fatal(err)
	}
	if r.Latency.P99, err = time.ParseDuration(p99); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	if err := r.Write(&printed); err != nil {
		t.Fatal(err)
	}
	if printed.String() != shown {
		t.Errorf("README.md shows\n%s\nit prints\n%s", shown, printed.String())
	}
	if !r.Right() {
		t.Error("README.md shows a run that went wrong")
	}
	anywhere, err := os.ReadFile("anywhere/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(block[:begin], "\n") {
		if before, _, ok := strings.Cut(line, ":"); ok && !strings.Contains(string(anywhere), `"`+before+":") {
			t.Errorf("make demo does not say %q", before)
		}
	}
}
