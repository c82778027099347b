// SPDX-License-Identifier: Apache-2.0

package correlator

import "time"

// Hubble stamps a flow when the agent reads it, and so after the kernel saw the
// packet. A quiet agent was 10 ms early (the two clocks differ) to 125 ms late
// in recordings of Cilium 1.15 and 1.20: what is taken for granted until
// something is measured. A busy one was seconds late.
const (
	skewEarly = int64(20 * time.Millisecond)
	skewLate  = int64(250 * time.Millisecond)
	skewQuiet = int64(150 * time.Millisecond) // between two flows, at most
)

const (
	// maxLag is the most that Hubble is believed to be late.
	maxLag = int64(10 * time.Second)
	// lagWindow is for how many seconds a measurement counts.
	lagWindow = 32
	// lagEnough is how many measurements tell how late Hubble is at least; how
	// late it is at most, each of them tells.
	lagEnough = 8
)

// lag measures how late Hubble is. Cilium says NEW of a packet just when it
// makes a connection tracking entry for it, so that such a flow and the entry's
// insert are the same packet: the difference of their stamps is the lag.
type lag struct {
	// early and late bound it: the packet of a flow stamped t was seen by the
	// kernel between t-late and t-early. early is negative where stamps may be
	// too early.
	early, late int64
	// apart is how much later than another a processor's flows may be stamped,
	// if that is more than what two flows of a quiet Hubble differ by.
	apart    int64
	measured bool // early and apart are; late is what was, or more
	seconds  [lagWindow]lagSecond
	// cpus are the processors, whose rings Hubble reads each by itself.
	cpus [otherCPU]*cpuLag
}

// cpu is a processor, or otherCPU: the lag is measured of the first 255 of a node.
type cpu uint8

const otherCPU = 255

func (ev *Event) cpu() cpu { return cpu(min(ev.NAT.CPU, otherCPU)) }

// cpuLag is what was measured on a processor.
type cpuLag struct {
	seconds [lagWindow]lagSecond
	ties    [8]tie // the last ones
	next    int
}

// tie is one packet's two stamps.
type tie struct{ flow, kernel int64 }

// lagSecond is what was measured in one second of event time.
type lagSecond struct {
	second   int64
	n        int   // of exact ones
	min, max int64 // min of the exact ones only
}

func newLag() lag { return lag{early: -skewEarly, late: skewLate} }

// measure takes the stamps of one packet, and the processor that handled it.
func (l *lag) measure(flow, kernel int64, on cpu) {
	d := flow - kernel
	if d < -skewEarly || d > maxLag {
		return // not the same packet
	}
	l.note(flow, d, true)
	if on == otherCPU {
		return
	}
	if l.cpus[on] == nil {
		l.cpus[on] = &cpuLag{}
	}
	own, now := l.cpus[on], flow/int64(time.Second)
	own.seconds[now%lagWindow].note(now, d, true)
	own.ties[own.next%len(own.ties)] = tie{flow, kernel}
	own.next++
}

// shows reports whether a flow may show the packet that a processor handled at the
// kernel's time: it is as late as others are, and a ring keeps its packets' order.
func (l *lag) shows(flow, kernel int64, on cpu) bool {
	early := l.early
	if on != otherCPU && l.cpus[on] != nil {
		own := l.cpus[on]
		if n, least, _ := sumUp(&own.seconds, flow/int64(time.Second)); n >= lagEnough {
			early = max(early, least-skewEarly)
		}
		for _, t := range own.ties {
			if t.flow > flow && t.kernel < kernel || t.flow < flow && t.kernel > kernel {
				return false
			}
		}
	}
	return flow >= kernel+early
}

// atLeast takes the stamps of two packets of which the flow's came first.
func (l *lag) atLeast(flow, kernel int64) {
	if d := flow - kernel; d > l.late && d <= maxLag {
		l.note(flow, d, false)
	}
}

// note counts a lag; exact says that it is one, not the least that it may be.
func (l *lag) note(flow, d int64, exact bool) {
	now := flow / int64(time.Second)
	l.seconds[now%lagWindow].note(now, d, exact)
	n, least, most := sumUp(&l.seconds, now)
	l.early, l.apart, l.measured = -skewEarly, 0, n >= lagEnough
	if l.measured {
		l.early = least - skewEarly
		if most-least > skewQuiet {
			l.apart = most - least
		}
	}
	l.late = max(skewLate, min(most+max(most/4, skewLate/2), maxLag))
}

// note counts a lag of that second.
func (s *lagSecond) note(second, d int64, exact bool) {
	if s.second != second {
		*s = lagSecond{second: second, min: maxLag, max: d}
	}
	s.max = max(s.max, d)
	if exact {
		s.n++
		s.min = min(s.min, d)
	}
}

// sumUp returns how many exact ones there were in the window before now, the least of
// them, and the most of all.
func sumUp(seconds *[lagWindow]lagSecond, now int64) (n int, least, most int64) {
	least = maxLag
	for i := range seconds {
		if s := &seconds[i]; s.second > now-lagWindow {
			n, least, most = n+s.n, min(least, s.min), max(most, s.max)
		}
	}
	return n, least, most
}

// extra is how much later than a quiet one Hubble may be.
func (l *lag) extra() int64 { return l.late - skewLate }

// openedBefore learns from the packets of which Hubble said NEW and whose tracking
// entry's insert would have been seen by now. An opening of which it was not came
// before its connection lost an entry, since when it would have been: that measures.
// Or the insert was taken for that of the opening before.
func (c *Correlator) openedBefore(now int64) {
	for o := c.early.oldest(); o != nil && o.at+skewEarly < now; o = c.early.oldest() {
		cn := c.table.at(o.conn)
		switch {
		case cn.opened == o.at && cn.flags&openedUntied != 0:
			if c.retieOpening(cn) {
				break
			}
			if lost := cn.lastLoss(); lost != 0 && lost < o.at && c.insertsShown(lost) {
				c.lag.atLeast(o.at, lost)
			}
			c.openedUnseen(cn)
		case cn.flags&midstream != 0 && cn.lastPod == o.at:
			c.retie(o.conn)
		}
		c.early.pop()
	}
}

// openedUnseen tells the suspect that its connection opened before it lost an
// entry: what closed before was another.
func (c *Correlator) openedUnseen(cn *conn) {
	if cn.suspect == 0 || cn.ended == 0 {
		return
	}
	if s := c.suspects.at(cn.suspect); !s.replaced && c.insertsShown(s.since) {
		s.closed = false
		c.settle(s.conn)
	}
}
