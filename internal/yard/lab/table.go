// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/renat-project/renat/internal/view/render"
)

// special says what is not as usual.
func (r *Result) special() (s string) {
	if r.HubbleLate > 0 {
		s += fmt.Sprintf(", Hubble %v late", r.HubbleLate)
	}
	if r.AgentAfter > 0 {
		s += fmt.Sprintf(", the agent after %v", r.AgentAfter)
	}
	return s
}

// Write writes the result as a table for people.
func (r *Result) Write(w io.Writer) error {
	version := "IPv4"
	if r.IPv6 {
		version = "IPv6"
	}
	if r.Kind != "" {
		version += ", kind " + string(r.Kind)
	}
	fmt.Fprintf(w, "Linux %s, %s, NAT map of %d entries, restore %s, %v of traffic%s\n\n", r.Kernel, version, r.MapSize, r.Restore, r.Duration, r.special())
	t := render.Table{}
	for _, title := range []string{"class", "connections", "broken", "failure rate", "named", "missed", "false", "other", "survived"} {
		t.Columns = append(t.Columns, render.Column{Title: title, Right: true})
	}
	for _, row := range append(r.Classes, r.Total) {
		if row.Class == "" {
			row.Class = "all"
		}
		cells := []string{string(row.Class), strconv.Itoa(row.Connections), strconv.Itoa(row.Broken), fmt.Sprintf("%.2f %%", 100*row.FailureRate)}
		for _, n := range []int{row.Named, row.Missed, row.False, row.Other, row.Survived} {
			cells = append(cells, strconv.Itoa(n))
		}
		t.Add(cells...)
	}
	if err := t.Flush(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d evictions from the NAT map; %d connections could not be opened; %d packets not shown to Hubble\n", r.Evictions, r.Unopened, r.Lost)
	if r.AgentAfter > 0 {
		fmt.Fprintf(w, "%d connections broke before the agent watched\n", r.BrokeBefore)
	}
	if r.Latency.Incidents > 0 {
		fmt.Fprintf(w, "from the RST's flow to the stored incident: p50 %v, p99 %v, of %d\n",
			r.Latency.P50.Round(100*time.Microsecond), r.Latency.P99.Round(100*time.Microsecond), r.Latency.Incidents)
	}
	if g := r.Guard; g != nil {
		fmt.Fprintf(w, "guarded: at most %d connections, looked up in %d runs of %v each; %d of their entries lost\n",
			g.Limit, g.Runs, time.Duration(g.Seconds/float64(max(g.Runs, 1))*1e9).Round(time.Microsecond), g.Lost)
		if g.Problem != "" {
			fmt.Fprintf(w, "guard: %s\n", g.Problem)
		}
	}
	for _, fault := range r.Faults {
		if _, err := fmt.Fprintln(w, fault); err != nil {
			return err
		}
	}
	return nil
}
