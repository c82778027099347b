// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Write writes the result as a table for people.
func (r *Result) Write(w io.Writer) error {
	version := "IPv4"
	if r.IPv6 {
		version = "IPv6"
	}
	fmt.Fprintf(w, "Linux %s, %s, NAT map of %d entries, restore %s, %v of traffic\n\n", r.Kernel, version, r.MapSize, r.Restore, r.Duration)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "class\tconnections\tbroken\tfailure rate\tnamed\tmissed\tfalse\tother\tsurvived\t")
	for _, row := range append(r.Classes, r.Total) {
		if row.Class == "" {
			row.Class = "all"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%.2f %%\t%d\t%d\t%d\t%d\t%d\t\n",
			row.Class, row.Connections, row.Broken, 100*row.FailureRate, row.Named, row.Missed, row.False, row.Other, row.Survived)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d evictions from the NAT map; %d connections could not be opened; %d packets not shown to Hubble\n", r.Evictions, r.Unopened, r.Lost)
	if r.Latency.Incidents > 0 {
		fmt.Fprintf(w, "from the RST's flow to the stored incident: p50 %v, p99 %v, of %d\n",
			r.Latency.P50.Round(100*time.Microsecond), r.Latency.P99.Round(100*time.Microsecond), r.Latency.Incidents)
	}
	for _, fault := range r.Faults {
		if _, err := fmt.Fprintln(w, fault); err != nil {
			return err
		}
	}
	return nil
}
