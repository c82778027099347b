// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
)

// TestBacksOff guards fewer once guarded entries are evicted, and says why.
func TestBacksOff(t *testing.T) {
	n := newNode(65536)
	g := newGuard(t, Config{}, n)
	for port := range 100 {
		g.Flow(flow(port, cart, correlator.ACK, 0))
	}
	n.turn(t, g, 0)
	limit := g.Status().Limit
	g.Change(eviction(1, true))
	n.turn(t, g, time.Second)
	if s := g.Status(); s.Lost != 1 || s.Problem != "" || s.Limit != limit {
		t.Errorf("one entry of 100 connections changed something: %+v", s)
	}
	for port := range 10 {
		g.Change(eviction(port, true))
	}
	g.Change(eviction(1000, true)) // not guarded
	in := eviction(11, false)
	in.NAT.Dir, in.NAT.To = correlator.In, in.Tuple.Src
	in.Tuple = correlator.Tuple{Src: in.Tuple.Dst, Dst: correlator.Addr{Port: 1}, Protocol: correlator.TCP}
	g.Change(in)
	n.turn(t, g, 2*time.Second)
	s := g.Status()
	if s.Lost != 12 || s.Limit > limit/2+1 || !strings.Contains(s.Problem, "map too small: the kernel evicted 10 entries") {
		t.Errorf("after the loss: %+v, the limit was %d", s, limit)
	}
	n.turn(t, g, 3*time.Second)
	if g.Status().Limit != s.Limit {
		t.Error("more are guarded again at once")
	}
	for at := range 5 {
		n.turn(t, g, time.Duration(at+2)*recovery)
	}
	if s := g.Status(); s.Limit != limit || s.Problem != "" {
		t.Errorf("it did not recover: %+v", s)
	}
}

// TestLeavesRoomForNew guards fewer while entries of connections that are being
// opened are evicted, as they are where too many entries are in use.
func TestLeavesRoomForNew(t *testing.T) {
	n := newNode(65536)
	g := newGuard(t, Config{}, n)
	for port := range 100 {
		g.Flow(flow(port, cart, correlator.ACK, 0))
	}
	at := time.Duration(0)
	run := func(age time.Duration) {
		for i := range 300 {
			gone := eviction(1000+i, false)
			gone.Time = start.Add(at).UnixNano()
			gone.NAT.Created = gone.Time - int64(age)
			g.Change(gone)
		}
		at += 2 * time.Second
		n.turn(t, g, at)
	}
	for range youngPause {
		run(10 * time.Second)
	}
	limit := g.Status().Limit
	run(0)
	s := g.Status()
	if s.Limit > limit/2+1 || !strings.HasPrefix(s.Problem, "map too small: the kernel evicts entries of connections that are just being opened") {
		t.Errorf("%+v, the limit was %d", s, limit)
	}
	for range youngPause - 1 {
		run(0)
	}
	if g.Status().Limit != s.Limit {
		t.Error("it did not wait until that could help")
	}
	if run(0); g.Status().Limit > s.Limit/2+1 {
		t.Error("fewer did not help, and as many are guarded")
	}
	for range 10 * int(recovery/(2*time.Second)) {
		run(10 * time.Second)
	}
	if s := g.Status(); s.Limit != limit || s.Problem != "" {
		t.Errorf("it did not recover: %+v", s)
	}
}

// TestSpendsNoMore has runs cost more than the share of a core allows.
func TestSpendsNoMore(t *testing.T) {
	n := newNode(65536)
	g := newGuard(t, Config{CPU: 0.01}, n)
	var spent time.Duration
	g.spent = func() (time.Duration, error) {
		spent += time.Duration(len(n.touched)) * 100 * time.Microsecond
		return spent, nil
	}
	for port := range 100 {
		g.Flow(flow(port, &correlator.Peer{Pod: fmt.Sprint(port)}, correlator.ACK, 0))
	}
	for i := range 10 {
		n.turn(t, g, time.Duration(i)*100*time.Millisecond) // 1 ms is allowed
	}
	if s := g.Status(); s.Connections < 9 || s.Connections > 11 || !strings.Contains(s.Problem, "0.01 of a core is enough for ") {
		t.Errorf("%d looked up, status %+v", len(n.touched), s)
	}
	before := spent
	for i := range 20 { // as many again are established between two runs
		n.turn(t, g, time.Second+time.Duration(i)*100*time.Millisecond)
		for port := range 100 {
			g.Flow(flow(1000+100*i+port, &correlator.Peer{Pod: fmt.Sprint(port)}, correlator.ACK, 0))
		}
		if _, err := g.turn(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		for port := range 100 {
			g.Flow(flow(1000+100*i+port, nil, correlator.FIN, 0))
		}
	}
	if took := spent - before; took > 22*time.Millisecond {
		t.Errorf("with first looks it took %v in 2 s, want 20 ms", took)
	}
	for i := range 20 {
		n.turn(t, g, 3*time.Second+time.Duration(i)*2*time.Second) // 20 ms
	}
	if s := g.Status(); s.Connections != 100 || s.Problem != "" {
		t.Errorf("%d looked up though there is time, status %+v", len(n.touched), s)
	}
}
