// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkTouch looks up the entries of 10,000 connections, as in one run of the
// guard, and reports CPU time. It needs root.
func BenchmarkTouch(b *testing.B) {
	const live = 10_000
	c := newCiliums(b, false, 131_072, 0)
	all := make([]Touched, live)
	for n := range all {
		c.open(uint32(n), seenNonSYN, 1<<31)
		all[n].Tuple = c.tuple(uint32(n))
	}
	spent := func() int64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	began := spent()
	for b.Loop() {
		c.touch(all)
	}
	b.ReportMetric(float64(spent()-began)/float64(b.N)/live, "cpu-ns/connection")
	for _, one := range all {
		if one.Condition != Kept {
			b.Fatalf("%s: %s", one.Tuple, one.Condition)
		}
	}
}
