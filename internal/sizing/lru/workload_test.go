// SPDX-License-Identifier: Apache-2.0

package lru

import (
	"container/heap"
	"math/rand/v2"
	"testing"
)

// workload is what a node's connections do; times are in seconds.
type workload struct {
	seed        uint64
	cpus        int
	distributed bool

	live     int     // connections that stay open
	gap      float64 // the longest that one of them is silent
	hotShare float64 // of them, silent for a second at most

	rate    float64 // short connections per second
	life    float64 // of these, at most
	packets int     // of each, both ways, after the first

	timeout float64 // after which entries of closed connections may go
	collect float64 // time between two collections of these
}

// outcome is what a map of some size did to a workload.
type outcome struct {
	broken    int // open connections that lost an entry, each counted once
	conns     int // connections, short ones included
	evictions int
	peak      int     // most entries at once
	inserts   float64 // entries per second, the most in ten seconds
}

// event is something a connection does at a time.
type event struct {
	at   float64
	conn int32
	left int32 // packets still to come; -1: never ends
}

type queue []event

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(e any)        { *q = append(*q, e.(event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// simulation runs a workload on a map.
type simulation struct {
	workload
	*Map
	rng    *rand.Rand
	open   []bool // by connection
	broken []bool
	closed []event // in the order of closing
	events queue
	outcome
}

// run lets the workload go for long enough to fill the map and go through
// every silence several times.
func (w workload) run(t testing.TB, entries int, seconds float64) outcome {
	t.Helper()
	s := &simulation{workload: w, rng: rand.New(rand.NewPCG(w.seed, 1))}
	var err error
	s.Map, err = New(Config{Entries: entries, CPUs: w.cpus, Distributed: w.distributed}, s.evicted)
	if err != nil {
		t.Fatal(err)
	}
	for range w.live {
		s.start(s.rng.Float64()*min(w.gap, seconds/10), -1)
	}
	next, collect, window, inserted := 0.0, w.collect, 10.0, 0
	for now := 0.0; now < seconds; {
		now = next
		if len(s.events) > 0 && s.events[0].at < next {
			now = s.events[0].at
		}
		if now >= window {
			s.inserts = max(s.inserts, float64(inserted)/10)
			window, inserted = window+10, 0
		}
		if now >= collect {
			s.gc(now)
			collect += w.collect
		}
		if now == next {
			s.start(now, int32(s.rng.IntN(w.packets+1)))
			next += s.rng.ExpFloat64() / w.rate
			inserted += 2
			continue
		}
		s.packet(heap.Pop(&s.events).(event))
		s.peak = max(s.peak, s.Len())
	}
	s.conns = len(s.open)
	return s.outcome
}

func (s *simulation) evicted(key uint32, _ bool) {
	s.evictions++
	if c := key / 2; s.open[c] && !s.broken[c] {
		s.broken[c] = true
		s.outcome.broken++
	}
}

// start opens a connection.
func (s *simulation) start(at float64, packets int32) {
	c := int32(len(s.open))
	s.open, s.broken = append(s.open, true), append(s.broken, false)
	heap.Push(&s.events, event{at: at, conn: c, left: packets})
}

// packet has a connection send and receive once.
func (s *simulation) packet(e event) {
	for key := uint32(2 * e.conn); key <= uint32(2*e.conn+1); key++ {
		if !s.Lookup(key) {
			s.Update(s.rng.IntN(s.cpus), key)
		}
	}
	switch {
	case e.left < 0:
		gap := 1.0
		if float64(e.conn) >= s.hotShare*float64(s.live) {
			gap = s.gap
		}
		e.at += gap * (0.5 + s.rng.Float64()/2)
		heap.Push(&s.events, e)
	case e.left == 0:
		s.open[e.conn] = false
		s.closed = append(s.closed, e)
	default:
		e.at += s.life / float64(s.packets) * s.rng.Float64()
		e.left--
		heap.Push(&s.events, e)
	}
}

// gc deletes the entries of connections that closed long enough ago.
func (s *simulation) gc(now float64) {
	n := 0
	for ; n < len(s.closed) && s.closed[n].at+s.timeout <= now; n++ {
		s.Delete(uint32(2 * s.closed[n].conn))
		s.Delete(uint32(2*s.closed[n].conn + 1))
	}
	s.closed = s.closed[n:]
}
