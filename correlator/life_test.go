// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"time"

	"github.com/renat-project/renat/correlator"
)

// A life is that of a pod's tuple: TCP connections, one after the other. What
// each packet finds in Cilium's maps and leaves there, what the other side
// answers and what Hubble shows of it is modelled here as Cilium's datapath and
// TCP have it. The model knows which connections were cut; the correlator, which
// sees events only, has to find out.
type life struct {
	*world
	pod, server correlator.Addr
	at          int64 // now
	rtt         int64
	cpus        [2]int // that handle the pod's packets and the server's
	side        int    // whose packet was handled last, as in cpus

	out                   half            // the pod's packets to l.port
	in                    map[uint16]half // of the server's packets to a port of the SNAT address
	port                  uint16          // that the OUT entry has, or had last
	ct                    bool
	podShown, serverShown shown

	known             uint16 // the port by which the server knows the connection
	answered          bool   // it is established
	reopened          bool   // it took over the tracking entry of the one before
	podDone, hostDone bool   // what closes was sent by the pod, the server
	over              bool   // nobody says any more
	broken            int64  // when it was cut; 0 if it was not
}

// half is one of a mapping's two entries.
type half struct {
	there   bool
	host    bool // an IN entry that is the host's own
	created int64
}

// shown is what Hubble's aggregation remembers of one direction.
type shown struct {
	flags correlator.TCPFlags
	at    int64
}

const (
	ack     = correlator.ACK
	data    = correlator.ACK | correlator.PSH
	fin     = correlator.FIN | correlator.ACK
	syn     = correlator.SYN
	synAck  = correlator.SYN | correlator.ACK
	rst     = correlator.RST                  // of a host that does not know the connection
	refused = correlator.RST | correlator.ACK // of one that refuses it, or whose application resets it
)

// report is for how long Hubble shows no packet without new flags, unless it
// shows all (CT_REPORT_INTERVAL in Cilium's datapath).
const report = int64(5 * time.Second)

func snat(port uint16) correlator.Addr { return addr(172, 1, port) }

func (l *life) tuple() correlator.Tuple {
	return correlator.Tuple{Src: l.pod, Dst: l.server, Protocol: correlator.TCP}
}

func (l *life) inKey(port uint16) correlator.Tuple {
	return correlator.Tuple{Src: l.server, Dst: snat(port), Protocol: correlator.TCP}
}

// wait lets some time between a and b pass.
func (l *life) wait(a, b time.Duration) {
	l.at += int64(a) + l.rng.Int64N(int64(b-a))
}

// change has the kernel tell of a change to a map.
func (l *life) change(m *correlator.Map, key correlator.Tuple, change correlator.NATChange) {
	l.wait(500, 5000)
	change.Map, change.KTime, change.CPU = m, uint64(l.at), uint16(l.cpus[l.side])
	change.Caller = theDatapath
	switch change.Op {
	case correlator.Evict:
		change.Caller = nil
	case correlator.Delete:
		change.Caller = theCollector
	}
	l.changes = append(l.changes, correlator.Event{Time: l.at, Kind: correlator.KindNAT, Tuple: key, NAT: change})
}

func (l *life) insertOut() {
	l.change(lifeNAT, l.tuple(), correlator.NATChange{Op: correlator.Insert, To: snat(l.port)})
	l.out = half{there: true, created: l.at}
}

// insertIn reports whether the port was free.
func (l *life) insertIn(port uint16) bool {
	change := correlator.NATChange{Op: correlator.Insert, Dir: correlator.In, To: l.pod, Flags: 1}
	taken := l.in[port].there
	if taken {
		change.Errno = 17
	}
	l.change(lifeNAT, l.inKey(port), change)
	if !taken {
		l.in[port] = half{there: true, created: l.at}
	}
	return !taken
}

// lose removes entries of the mapping that is in force.
func (l *life) lose(out, in bool) {
	op := correlator.Evict
	if l.rng.IntN(4) == 0 {
		op = correlator.Delete
	}
	stamp := func(created int64) int64 { return created - created%int64(time.Second) }
	if out && l.out.there {
		l.change(lifeNAT, l.tuple(), correlator.NATChange{Op: op, To: snat(l.port), Created: stamp(l.out.created)})
		l.out = half{}
	}
	if in && l.in[l.port].there {
		to := l.pod
		if l.in[l.port].host {
			to = snat(l.port)
		}
		l.change(lifeNAT, l.inKey(l.port), correlator.NATChange{Op: op, Dir: correlator.In, To: to, Created: stamp(l.in[l.port].created)})
		l.in[l.port] = half{}
	}
}

// show has the ring of one side's processor carry a flow.
func (l *life) show(side int, tuple correlator.Tuple, flow correlator.Flow) {
	l.flows = append(l.flows, packet{l.cpus[side], correlator.Event{Time: l.at, Kind: correlator.KindFlow, Tuple: tuple, Flow: flow}})
}

// shows reports whether Hubble shows a packet of a side.
func (l *life) shows(s *shown, at int64, flags correlator.TCPFlags) bool {
	if !l.showsAll && flags&(correlator.SYN|correlator.RST) == 0 && flags&^s.flags == 0 && at-s.at < report {
		return false
	}
	s.flags |= flags
	s.at = at
	return true
}

// fromPod sends a packet of the pod's through the maps.
func (l *life) fromPod(flags correlator.TCPFlags) {
	l.side = 0
	reason := correlator.ReasonEstablished
	switch {
	case !l.ct:
		reason = correlator.ReasonNew
		l.change(lifeCT, l.tuple(), correlator.NATChange{Op: correlator.Insert})
		l.ct, l.podShown, l.serverShown = true, shown{}, shown{}
	case flags == syn && l.over:
		reason = correlator.ReasonReopened
		l.podShown, l.serverShown = shown{}, shown{}
	}
	if l.shows(&l.podShown, l.at, flags) {
		l.show(0, l.tuple(), correlator.Flow{Point: correlator.ToStack, Reason: reason, Flags: flags})
	}
	switch {
	case !l.out.there:
		l.port = l.pod.Port
		if !l.insertIn(l.port) { // another's, or the connection's own
			l.port = l.free()
			l.insertIn(l.port)
		}
		l.insertOut()
	case l.restores && !l.in[l.port].there:
		l.insertIn(l.port)
	}
}

// toPod sends a packet of the server's to a port of the SNAT address, and
// reports whether the maps lead it to the pod.
func (l *life) toPod(port uint16, flags correlator.TCPFlags) bool {
	l.side = 1
	in := l.in[port]
	switch {
	case in.host:
		return false
	case !in.there:
		// The host knows no such connection and resets it.
		to := snat(port)
		l.change(lifeNAT, l.inKey(port), correlator.NATChange{Op: correlator.Insert, Dir: correlator.In, To: to})
		l.in[port] = half{there: true, host: true, created: l.at}
		l.change(lifeNAT, correlator.Tuple{Src: to, Dst: l.server, Protocol: correlator.TCP}, correlator.NATChange{Op: correlator.Insert, To: to})
		l.show(1, correlator.Tuple{Src: to, Dst: l.server, Protocol: correlator.TCP}, correlator.Flow{Point: correlator.ToNetwork, Reason: correlator.ReasonNew, Flags: rst})
		return false
	case !l.out.there && l.restores:
		l.port = port
		l.insertOut()
	}
	if !l.ct {
		l.show(1, l.tuple().Reverse(), correlator.Flow{Point: correlator.Dropped, DropReason: 133, Flags: flags})
		return false
	}
	if l.shows(&l.serverShown, l.at, flags) {
		l.show(1, l.tuple().Reverse(), correlator.Flow{Point: correlator.ToEndpoint, Reason: correlator.ReasonReply, Flags: flags})
	}
	return true
}

// cut notes that the connection is cut, if anybody still wants it.
func (l *life) cut(at int64) {
	if l.answered && !l.podDone && !l.hostDone {
		l.broken = at
	}
}

// podSends has the pod send a packet of its connection, and now and then close
// right behind it.
func (l *life) podSends(flags correlator.TCPFlags) { l.sends(flags, l.rng.IntN(6) == 0) }

func (l *life) sends(flags correlator.TCPFlags, farewell bool) {
	began := l.at
	l.fromPod(flags)
	if flags&(correlator.FIN|correlator.RST) != 0 {
		l.podDone = true
	}
	if flags&correlator.RST != 0 {
		l.over = true
		return
	}
	if l.port == l.known {
		if flags == data {
			l.acknowledge()
		}
		return
	}
	// The server takes it for a stranger's.
	if at := l.at; !l.podDone && farewell {
		l.at = began
		l.wait(10*time.Microsecond, time.Duration(min(l.rtt, int64(20*time.Millisecond))))
		l.at = max(l.at, at)
		l.podDone = true
		l.fromPod(fin)
	} else {
		l.cut(at)
	}
	l.over = true
	if l.silent {
		for range l.rng.IntN(4) { // in vain
			l.wait(200*time.Millisecond, 3*time.Second)
			l.fromPod(flags)
		}
		return
	}
	l.at += l.rtt
	if l.toPod(l.port, rst) && l.rng.IntN(3) == 0 {
		l.serverGoesOn()
	}
}

// serverGoesOn has the server, which does not know that the pod's end is gone, send
// on: the pod's kernel answers.
func (l *life) serverGoesOn() {
	l.wait(10*time.Microsecond, 3*time.Second)
	if l.toPod(l.known, ack) {
		l.fromPod(rst)
	}
}

// acknowledge has the server do so, perhaps some time later.
func (l *life) acknowledge() {
	l.at += l.rtt
	if l.at%3 == 0 {
		l.at += int64(40 * time.Millisecond)
	}
	l.serverSends(ack)
}

// serverSends has the server send a packet of its connection.
func (l *life) serverSends(flags correlator.TCPFlags) {
	switch {
	case l.toPod(l.known, flags):
		if flags&correlator.FIN != 0 {
			l.hostDone = true
			l.wait(100*time.Microsecond, 300*time.Millisecond)
			l.podSends(fin)
		}
	case l.in[l.known].host:
		l.cut(l.at) // even by a FIN: the pod does not know that the server has closed
		l.over = true
		if l.rng.IntN(2) == 0 { // the pod does not know
			l.wait(time.Millisecond, 3*time.Second)
			l.fromPod(ack)
			if l.port != l.known && !l.silent {
				l.at += l.rtt
				l.toPod(l.port, rst)
			}
		}
	}
}

// open begins a connection.
func (l *life) open() {
	l.reopened = l.ct
	l.fromPod(syn)
	l.podDone, l.hostDone, l.over, l.answered, l.broken = false, false, false, false, 0
	l.known = l.port
	switch l.rng.IntN(20) {
	case 0:
		l.at += l.rtt
		l.over = true
		l.toPod(l.known, refused)
		return
	case 1: // never answered
		for _, wait := range []time.Duration{time.Second, 2 * time.Second} {
			l.at += int64(wait)
			l.lose(l.rng.IntN(3) == 0, l.rng.IntN(3) == 0)
			l.fromPod(syn)
		}
		l.over = true
		return
	case 2: // an entry goes that is as young as that
		l.lose(l.rng.IntN(2) == 0, l.rng.IntN(2) == 0)
	}
	l.at += l.rtt
	if !l.toPod(l.known, synAck) {
		l.over = true
		return
	}
	l.answered = true
	l.wait(10*time.Microsecond, 100*time.Microsecond)
	l.sends(ack, false)
}

// act lets one thing happen.
func (l *life) act() {
	switch l.rng.IntN(3) {
	case 0:
		l.wait(time.Microsecond, 100*time.Millisecond)
	case 1:
		l.wait(time.Millisecond, 3*time.Second)
	default:
		l.wait(time.Second, time.Minute)
	}
	switch n := l.rng.IntN(20); {
	case n < 6:
		flags := ack
		if l.showsAll && l.at%2 == 0 {
			flags = data
		}
		l.podSends(flags)
	case n < 11:
		l.serverSends(ack)
	case n < 12:
		l.podSends(fin)
		l.over = true
		l.at += l.rtt
		l.toPod(l.known, fin)
	case n < 13:
		l.podSends(refused)
	case n < 14:
		l.serverSends(fin)
		l.over = true
	case n < 15: // the tracking entry goes
		l.ct = false
		l.wait(time.Millisecond, 100*time.Millisecond)
		l.podSends(ack)
	default:
		l.lose(n < 18, n > 16)
	}
}

// run goes through the life and returns its connections.
func (l *life) run() (all []connection) {
	for {
		began := l.at
		l.open()
		for n := 1 + l.rng.IntN(12); n > 0 && !l.over; n-- {
			l.act()
		}
		all = append(all, connection{tuple: l.tuple(), began: began, end: l.at, broken: l.broken, reopened: l.reopened})
		if l.rng.IntN(2) == 0 || !l.over {
			return all
		}
		l.again()
	}
}

// again lets the tuple's next connection come, its entries still there or not.
func (l *life) again() {
	l.wait(time.Second, 200*time.Second)
	l.lose(l.rng.IntN(2) == 0, l.rng.IntN(2) == 0)
	l.ct = l.ct && l.rng.IntN(4) == 0
	l.wait(time.Millisecond, time.Second)
}
