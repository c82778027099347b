// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"iter"
	"time"

	datapath "github.com/renat-project/renat/bpf/lab"
)

// lateness holds back what the Observer is told. A Cilium agent stamps flows when
// it reads them, and it reads each CPU's ring in turn: a busy one does so seconds
// after the kernel wrote them, and one CPU's later than another's.
type lateness struct {
	by      []time.Duration // by CPU
	waiting [][]waiting     // by CPU, the oldest first
}

// waiting is a packet that the Observer will be told of.
type waiting struct {
	due    time.Time
	packet datapath.Report
}

// newLateness has the last of the CPUs' packets be late by all of most, the
// others' by less, in equal steps.
func newLateness(most time.Duration, cpus int) *lateness {
	l := &lateness{waiting: make([][]waiting, cpus)}
	for cpu := range cpus {
		l.by = append(l.by, most*time.Duration(cpu+1)/time.Duration(cpus))
	}
	return l
}

// hold takes a packet that was read at a time, and returns when it is due.
func (l *lateness) hold(r *datapath.Report, read time.Time) (due time.Time) {
	cpu := min(int(r.CPU), len(l.by)-1)
	due = read.Add(l.by[cpu])
	l.waiting[cpu] = append(l.waiting[cpu], waiting{due, *r})
	return due
}

// next returns the CPU whose packet is due next, and when; ok is false if none waits.
func (l *lateness) next() (cpu int, due time.Time, ok bool) {
	for i, w := range l.waiting {
		if len(w) > 0 && (!ok || w[0].due.Before(due)) {
			cpu, due, ok = i, w[0].due, true
		}
	}
	return cpu, due, ok
}

// take returns the packets that are due by now, in the order in which they are.
func (l *lateness) take(now time.Time) iter.Seq[*datapath.Report] {
	return func(yield func(*datapath.Report) bool) {
		for {
			cpu, due, ok := l.next()
			if !ok || due.After(now) {
				return
			}
			w := l.waiting[cpu]
			l.waiting[cpu] = w[1:]
			if !yield(&w[0].packet) {
				return
			}
		}
	}
}
