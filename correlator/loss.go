// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"sort"

	"github.com/renat-project/renat/correlator/incident"
)

// lossMarks is how many moments of loss are remembered one by one.
const lossMarks = 4096

// ledger keeps running totals of what was lost, so that the loss since any
// moment is one subtraction.
type ledger struct {
	marks  []mark // by time
	total  incident.Loss
	resets uint64
}

type mark struct {
	at     int64
	total  incident.Loss // before this loss
	resets uint64
}

func (l *ledger) add(at int64, loss incident.Loss) {
	if n := len(l.marks); n == 0 || l.marks[n-1].at < at {
		if n == lossMarks {
			l.marks = append(l.marks[:0], l.marks[n/2:]...)
		}
		l.marks = append(l.marks, mark{at: at, total: l.total, resets: l.resets})
	}
	l.total.KernelEvents += loss.KernelEvents
	l.total.HubbleFlows += loss.HubbleFlows
	l.total.HubbleUnseen += loss.HubbleUnseen
	if loss.Unknown {
		l.resets++
	}
}

// since returns what was lost at from or later.
func (l *ledger) since(from int64) incident.Loss {
	i := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].at >= from })
	if i == len(l.marks) {
		return incident.Loss{}
	}
	m := &l.marks[i]
	return incident.Loss{
		KernelEvents: l.total.KernelEvents - m.total.KernelEvents,
		HubbleFlows:  l.total.HubbleFlows - m.total.HubbleFlows,
		HubbleUnseen: l.total.HubbleUnseen - m.total.HubbleUnseen,
		Unknown:      l.resets > m.resets,
	}
}

// opens are the connections that the kernel saw open lately and whose opening
// packet Hubble still has to show.
type opens struct {
	ring  []open
	first int
	count int
}

type open struct {
	conn ref
	at   int64
}

// maxOpens bounds the connections opened within showWithin; more are not watched.
const maxOpens = 1 << 16

// showWithin is how long after the kernel Hubble may show an opening packet.
const showWithin = int64(1e9)

func (o *opens) push(r ref, at int64) {
	if o.ring == nil {
		o.ring = make([]open, maxOpens)
	}
	if o.count < maxOpens {
		o.ring[(o.first+o.count)%maxOpens] = open{r, at}
		o.count++
	}
}

// oldest returns the first that was pushed, or nil.
func (o *opens) oldest() *open {
	if o.count == 0 {
		return nil
	}
	return &o.ring[o.first]
}

// pop removes it.
func (o *opens) pop() {
	o.first = (o.first + 1) % maxOpens
	o.count--
}

// unseen checks the openings that Hubble should have shown by now. Only
// masqueraded connections count: others may be filtered out at Hubble.
func (c *Correlator) unseen(now int64) {
	for o := c.opens.oldest(); o != nil && o.at+showWithin+c.lag.extra() < now; o = c.opens.oldest() {
		cn := c.table.at(o.conn)
		if c.flowsSeen && cn.opened == o.at && cn.flags&sawOpening == 0 && !cn.snat.IsZero() {
			c.stats.HubbleUnseen++
			c.losses.add(o.at+showWithin, incident.Loss{HubbleUnseen: 1})
		}
		c.opens.pop()
	}
}

func (c *Correlator) onLoss(ev *Event) {
	l := &ev.Loss
	if l.From == LossHubbleRestart {
		c.usualAt = 0 // it may be configured anew
	}
	if l.From < lossSources {
		c.stats.Lost[l.From] += l.Count
	}
	loss := incident.Loss{Unknown: l.Count == 0}
	if l.From.Kernel() {
		loss.KernelEvents = l.Count
	} else {
		loss.HubbleFlows = l.Count
	}
	c.losses.add(ev.Time, loss)
}
