// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"testing"
	"time"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
)

// TestLateness holds packets of two CPUs back, the first's for half as long.
func TestLateness(t *testing.T) {
	l := newLateness(2*time.Second, 2)
	for n, cpu := range []uint16{1, 0, 1, 0, 7} { // the last of a CPU that was added
		at := noon.Add(time.Duration(n) * 400 * time.Millisecond)
		want := at.Add(2 * time.Second)
		if cpu == 0 {
			want = at.Add(time.Second)
		}
		if due := l.hold(&datapath.Report{CPU: cpu, KTime: uint64(n)}, at); !due.Equal(want) {
			t.Errorf("packet %d is due at %v, want %v", n, due, want)
		}
	}
	taken := func(after time.Duration) (s string) {
		for r := range l.take(noon.Add(after)) {
			s += fmt.Sprint(r.KTime)
		}
		return s
	}
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{time.Second, ""}, {2 * time.Second, "10"}, {2200 * time.Millisecond, "3"}, {time.Minute, "24"}} {
		if c.after == 2*time.Second {
			if cpu, due, ok := l.next(); !ok || cpu != 0 || !due.Equal(noon.Add(1400*time.Millisecond)) {
				t.Errorf("next is one of CPU %d at %v, %v", cpu, due, ok)
			}
		}
		if got := taken(c.after); got != c.want {
			t.Errorf("after %v: %q, want %q", c.after, got, c.want)
		}
	}
	if _, _, ok := l.next(); ok {
		t.Error("something is left")
	}
	prompt := newLateness(0, 4)
	prompt.hold(&datapath.Report{CPU: 3}, noon)
	if _, due, ok := prompt.next(); !ok || !due.Equal(noon) {
		t.Errorf("a prompt Hubble's packet is due at %v", due)
	}
}

// TestScoreFromTheMiddle has the agent watch from 100 on; from 200 on it must name
// what breaks.
func TestScoreFromTheMiddle(t *testing.T) {
	of := func(cause incident.Cause) []jetstream.Stored {
		i := &incident.Incident{
			Kind: incident.Renat, Cause: cause, Source: incident.Endpoint{IP: pod.Addr(), Port: pod.Port()},
			Destination: incident.Endpoint{IP: server.Addr(), Port: server.Port()},
			NAT:         incident.NAT{Before: snat(20001).String(), After: snat(30000).String()},
		}
		return []jetstream.Stored{{Incident: i}}
	}
	for name, c := range map[string]struct {
		kind       incident.Kind
		mapped, at uint64
		stored     []jetstream.Stored
		want       Row
		before     int
	}{
		"before, unnamed":            {incident.Renat, 50, 90, nil, Row{}, 1},
		"meanwhile, unnamed":         {incident.Renat, 50, 150, nil, Row{}, 1},
		"meanwhile, named":           {incident.Renat, 50, 150, of(incident.UnknownCause), Row{Broken: 1, Named: 1}, 0},
		"after, unnamed":             {incident.Renat, 50, 250, nil, Row{Broken: 1, Missed: 1}, 0},
		"after, the cause unknown":   {incident.Renat, 50, 250, of(incident.UnknownCause), Row{Broken: 1, Named: 1}, 0},
		"after, the cause seen":      {incident.Renat, 50, 250, of(incident.LRUEviction), Row{Broken: 1, Named: 1}, 0},
		"after, another cause":       {incident.Renat, 50, 250, of(incident.UserspaceDelete), Row{Broken: 1, Missed: 1, False: 1}, 0},
		"mapped and broken since":    {incident.Renat, 150, 250, of(incident.LRUEviction), Row{Broken: 1, Named: 1}, 0},
		"its cause should be known":  {incident.Renat, 150, 250, of(incident.UnknownCause), Row{Broken: 1, Missed: 1, False: 1}, 0},
		"before, what is left named": {incident.OrphanedReply, 50, 90, of(incident.UnknownCause), Row{}, 1},
		"before, another cause":      {incident.OrphanedReply, 50, 90, of(incident.LRUEviction), Row{Broken: 1, Missed: 1, False: 1}, 0},
		"before, named twice":        {incident.OrphanedReply, 50, 90, append(of(incident.UnknownCause), of(incident.UnknownCause)...), Row{Broken: 1, Missed: 1, False: 2}, 0},
	} {
		a := newAccount()
		a.watchedFrom(100, 200)
		k := key{pod, server}
		a.probed(k, Idle, 1, errors.New("connection reset by peer"))
		a.accepted(k, snat(20001))
		a.failed(k, failure{kind: c.kind, cause: incident.LRUEviction, before: snat(20001), after: snat(30000), at: c.at, mapped: c.mapped})
		s := a.score(Config{}, c.stored)
		_, got := s.table()
		got.Connections, got.FailureRate = 0, 0
		if got != c.want || s.before != c.before {
			t.Errorf("%s: %+v and %d before, want %+v and %d", name, got, s.before, c.want, c.before)
		}
	}
}
