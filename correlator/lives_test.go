// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

var livesWanted = flag.Int("lives", 20_000, "how many lives TestLives makes up")

var (
	lifeNAT      = &correlator.Map{Name: "cilium_snat_v4_external", MaxEntries: 1 << 16}
	lifeCT       = &correlator.Map{Name: "cilium_ct4_global", CT: true}
	theDatapath  = &correlator.Caller{Program: "tail_handle_snat_fwd_ipv4"}
	theCollector = &correlator.Caller{Program: correlator.ProgramSyscall, Comm: "cilium-agent"}
)

const (
	livesPerWorld = 80
	processors    = 4
	worldLasts    = 300 * time.Second // until no life begins any more
)

// world is a node on which lives take place at the same time.
type world struct {
	rng      *rand.Rand
	restores bool // Cilium 1.18 and newer makes one half anew of the other
	silent   bool // servers drop strangers' packets
	showsAll bool // Hubble does, else only packets with new flags, and after a while
	lastPort uint16

	changes []correlator.Event
	flows   []packet
	unseen  []correlator.Event // flows of closing packets that Hubble lost
}

// packet is a flow in its processor's ring.
type packet struct {
	processor int
	ev        correlator.Event
}

// free returns a port that nobody has.
func (w *world) free() uint16 {
	w.lastPort++
	return w.lastPort
}

// live makes up all lives of the world.
func (w *world) live() (all []connection) {
	for i := range livesPerWorld {
		l := w.life(addr(10, i, uint16(40000+i)))
		l.wait(30*time.Second, worldLasts+20*time.Second) // once inserts of tracking entries are known to be seen
		if w.rng.IntN(5) == 0 {                           // another pod has the port
			l.in[l.pod.Port] = half{there: true}
		}
		all = append(all, l.run()...)
	}
	until := start
	for _, c := range all {
		until = max(until, c.end)
	}
	w.others(until)
	return all
}

func (w *world) life(pod correlator.Addr) *life {
	rtts := [...]time.Duration{100 * time.Microsecond, time.Millisecond, 20 * time.Millisecond, 120 * time.Millisecond}
	return &life{
		world: w, pod: pod, server: addr(192, w.rng.IntN(3), 443), at: start, rtt: int64(rtts[w.rng.IntN(len(rtts))]),
		cpus: [2]int{w.rng.IntN(processors), w.rng.IntN(processors)}, in: map[uint16]half{},
	}
}

// others makes up what else a node has until then: short connections of a busy
// client, whose ports come around. By them it shows how late Hubble is.
func (w *world) others(until int64) {
	for i := range 16 {
		l := w.life(addr(11, 0, uint16(50000+i)))
		for l.at < until {
			l.wait(time.Second, 20*time.Second)
			l.cpus = [2]int{w.rng.IntN(processors), w.rng.IntN(processors)}
			l.fromPod(syn)
			l.over = false
			l.known = l.port
			l.at += l.rtt
			l.toPod(l.known, synAck)
			l.fromPod(fin)
			l.at += l.rtt
			l.toPod(l.known, fin)
			l.over = true
			l.wait(time.Second, 5*time.Second)
			l.lose(true, true)
			l.ct = false
		}
	}
}

// events returns what is seen of the world, by time; filtered says that the
// kernel's filter withholds what a live agent does not get.
func (w *world) events(filtered bool, lag time.Duration, lost float64) []correlator.Event {
	byTime := func(a, b correlator.Event) int { return cmp.Compare(a.Time, b.Time) }
	slices.SortStableFunc(w.changes, byTime)
	seen := w.changes
	if filtered {
		seen = withheld(seen)
	}
	seen = slices.Concat(seen, slices.DeleteFunc(w.read(lag), func(ev correlator.Event) bool {
		gone := w.rng.Float64() < lost
		if closes := ev.Flow.Flags & (correlator.FIN | correlator.RST); gone && (closes&correlator.FIN != 0 || closes != 0 && ev.Flow.Point == correlator.ToStack) {
			w.unseen = append(w.unseen, ev)
		}
		return gone
	}))
	slices.SortStableFunc(seen, byTime)
	return seen
}

// read has Hubble read the rings, each processor's later by another time of up
// to most; 10 ms too early to 125 ms late it is at the best.
func (w *world) read(most time.Duration) (flows []correlator.Event) {
	slices.SortStableFunc(w.flows, func(a, b packet) int { return cmp.Compare(a.ev.Time, b.ev.Time) })
	var base, last [processors]int64
	quiet := w.rng.Int64N(int64(135*time.Millisecond)) - int64(10*time.Millisecond)
	for i := range base {
		base[i] = quiet
		if most > 0 {
			base[i] += w.rng.Int64N(int64(most))
		}
	}
	for _, p := range w.flows {
		i := p.processor
		stamp := p.ev.Time + base[i] + w.rng.Int64N(int64(2*time.Millisecond))
		last[i] = max(last[i]+1000, stamp)
		p.ev.Time = last[i]
		flows = append(flows, p.ev)
	}
	return flows
}

// withheld leaves out the inserts that the kernel's filter does not send to a
// live agent: those of tuples that lost no entry before.
func withheld(changes []correlator.Event) (sent []correlator.Event) {
	type side struct{ local, server correlator.Addr }
	lost := map[side]bool{}
	for _, ev := range changes {
		key, server := side{ev.Tuple.Src, ev.Tuple.Dst}, ev.Tuple.Dst
		if ev.NAT.Dir == correlator.In {
			key, server = side{ev.Tuple.Dst, ev.Tuple.Src}, ev.Tuple.Src
		}
		value := side{ev.NAT.To, server}
		if ev.NAT.Op != correlator.Insert {
			lost[key], lost[value] = true, true
		} else if !lost[key] && !lost[value] {
			continue
		}
		sent = append(sent, ev)
	}
	return sent
}

// blurred reports whether a packet of the pod's port opened or closed a connection so near
// to a time, or to the loss of an entry before it, or two connections were so near to each
// other, that a Hubble which is late cannot tell what was first.
func (w *world) blurred(all []connection, port uint16, at, late int64) bool {
	moments := [3]int64{correlator.Out: 0, correlator.In: 0, 2: at}
	for i := range w.changes {
		ev := &w.changes[i]
		if ev.NAT.Op != correlator.Insert && (ev.Tuple.Src.Port == port || ev.NAT.To.Port == port) && ev.Time < at {
			moments[ev.NAT.Dir] = max(moments[ev.NAT.Dir], ev.Time)
		}
	}
	for i := range all {
		c := &all[i]
		if i > 0 && c.tuple.Src.Port == port && all[i-1].tuple == c.tuple && c.began < at && c.end > at-int64(10*time.Second) && c.began < all[i-1].end+late {
			return true
		}
	}
	return slices.ContainsFunc(w.flows, func(p packet) bool {
		f := &p.ev.Flow
		opens := f.Flags&correlator.SYN != 0
		closes := f.Flags&correlator.FIN != 0 || f.Flags&correlator.RST != 0 && f.Point == correlator.ToStack
		ofPort := p.ev.Tuple.Src.Port == port || p.ev.Tuple.Dst.Port == port
		return (opens || closes) && ofPort && slices.ContainsFunc(moments[:], func(m int64) bool { return max(m-p.ev.Time, p.ev.Time-m) < late })
	})
}

// score counts what was named.
type score struct{ lives, broken, hit, wrong int }

// mistake is an incident that is wrong, or a break that is not named.
type mistake struct {
	port uint16
	at   int64
	what string
}

func (s *score) recall() float64    { return float64(s.hit) / float64(s.broken) }
func (s *score) precision() float64 { return float64(s.hit) / float64(s.hit+s.wrong) }

// TestLives makes up lives of connections: openings seen or not, all orders of
// closing, losses of every entry, ports used again. Those that the model knows
// to be cut are to be named, and no other. Where each processor's flows are late
// by another time of up to 5 s, some of those cannot be told that open or close within
// that time, and none is mistaken that does not; where 30 % of the flows are lost,
// others cannot, either. Where Hubble loses nothing, only those time out whose servers
// drop strangers' packets.
func TestLives(t *testing.T) {
	var prompt, late, lossy score
	timeouts := 0
	for seed := uint64(0); prompt.lives+late.lives+lossy.lives < *livesWanted; seed++ {
		rng := rand.New(rand.NewPCG(seed, 7))
		w := &world{rng: rng, restores: rng.IntN(2) == 0, silent: rng.IntN(8) == 0, showsAll: seed%3 == 0, lastPort: 1024}
		all := w.live()
		score, lag, lost := &prompt, time.Duration(0), 0.0
		switch rng.IntN(3) {
		case 0:
			score, lag = &late, []time.Duration{500 * time.Millisecond, 2 * time.Second, 5 * time.Second}[rng.IntN(3)]
		case 1:
			score, lost = &lossy, 0.3
		}
		filtered := rng.IntN(2) == 0
		named := nameLives(t, w.events(filtered, lag, lost))
		for _, i := range named {
			switch {
			case i.Outcome != incident.Timeout:
			case w.silent:
				timeouts++
			case lost == 0:
				t.Errorf("seed %d: %s of port %d at %v is said to have timed out", seed, i.Kind, i.Source.Port, time.Duration(i.Time.UnixNano()-start))
			}
		}
		for _, m := range score.take(w.told(all), named, lag, lost > 0) {
			if lost == 0 && !w.blurred(all, m.port, m.at, int64(lag)+int64(250*time.Millisecond)) {
				t.Errorf("seed %d, restores %v, silent %v, filtered %v, late %v: %s of port %d at %v",
					seed, w.restores, w.silent, filtered, lag, m.what, m.port, time.Duration(m.at-start))
			}
		}
	}
	for name, s := range map[string]*score{"prompt": &prompt, "late": &late, "lossy": &lossy} {
		t.Logf("Hubble %s: %d lives, %d broken, recall %.4f, precision %.4f", name, s.lives, s.broken, s.recall(), s.precision())
	}
	t.Logf("%d timed out", timeouts)
	if timeouts == 0 {
		t.Error("no server was silent for so long that its connection timed out")
	}
	if prompt.recall() < 0.9999 || prompt.precision() < 0.9999 {
		t.Error("Hubble being prompt, recall and precision must be 0.9999")
	}
	if late.recall() < 0.999 || late.precision() < 0.998 || lossy.recall() < 0.98 || lossy.precision() < 0.99 {
		t.Error("recall and precision must be 0.999 and 0.998 where Hubble is late, 0.98 and 0.99 without 30 % of the flows")
	}
}

// told returns the connections whose closing packets Hubble did not lose: of
// the others nobody can tell whether they had closed before.
func (w *world) told(all []connection) []connection {
	for i := range all {
		all[i].untold = slices.ContainsFunc(w.unseen, func(ev correlator.Event) bool {
			return (ev.Tuple == all[i].tuple || ev.Tuple == all[i].tuple.Reverse()) && ev.Time > all[i].began-int64(time.Second) && ev.Time < all[i].end+int64(time.Second)
		})
	}
	return all
}

// nameLives returns the incidents of events.
func nameLives(t *testing.T, events []correlator.Event) (named []*incident.Incident) {
	t.Helper()
	c := newCorrelator(t, correlator.Config{}, func(i *incident.Incident) { named = append(named, i) })
	for i := range events {
		c.Observe(&events[i])
	}
	c.Advance(events[len(events)-1].Time + int64(time.Minute))
	c.Flush()
	return named
}

// take counts what is named, and returns what is wrongly and what is not.
func (s *score) take(all []connection, named []*incident.Incident, lag time.Duration, lossy bool) (wrong []mistake) {
	s.lives += len(all)
	for _, i := range named {
		at := i.Time.UnixNano()
		from := netip.AddrPortFrom(i.Source.IP, i.Source.Port)
		if slices.ContainsFunc(all, func(c connection) bool {
			return c.untold && c.tuple.Src.AddrPort() == from && at > c.began && at < c.end+int64(10*time.Second)
		}) {
			continue
		}
		hit := -1 // the last that it may be
		for i, c := range all {
			if c.broken != 0 && c.tuple.Src.AddrPort() == from && at > c.broken-int64(25*time.Millisecond) && at < c.broken+int64(10*time.Second) &&
				(hit < 0 || c.broken > all[hit].broken) {
				hit = i
			}
		}
		if hit < 0 {
			s.wrong++
			wrong = append(wrong, mistake{i.Source.Port, at, fmt.Sprintf("wrong %s %s", i.Kind, i.Outcome)})
			continue
		}
		s.broken++
		s.hit++
		all[hit].broken = 0 // a second one would be wrong
	}
	for _, c := range all {
		if c.broken != 0 && !c.untold && !c.hidden(lag+250*time.Millisecond, lossy) {
			s.broken++
			wrong = append(wrong, mistake{c.tuple.Src.Port, c.broken, "unnamed break"})
		}
	}
	return wrong
}

// connection is what is known of one.
type connection struct {
	tuple      correlator.Tuple
	began, end int64
	broken     int64 // when it was cut; 0 if it was not
	reopened   bool  // no tracking entry tells when it began
	untold     bool  // Hubble lost a packet that closed it
}

// hidden reports whether the connection was cut so soon after its beginning that
// nobody can tell, Hubble being late, whether that came before the loss; or, if
// flows are lost, whether it was ever established.
func (c *connection) hidden(late time.Duration, lossy bool) bool {
	age := time.Duration(c.broken - c.began)
	return c.reopened && age < late || lossy && age < 6*time.Second
}
