// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/sinks/jetstream"
)

var (
	pod    = netip.AddrPortFrom(ipv4.pod(0), 20001)
	server = netip.AddrPortFrom(ipv4.server, portLong)
	noon   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func snat(port uint16) netip.AddrPort { return netip.AddrPortFrom(ipv4.node, port) }

// stage is a witness with the reports it gets.
type stage struct {
	*witness
	now uint64
}

func newStage() *stage { return &stage{witness: newWitness(newAccount())} }

func (s *stage) report(r datapath.Report) {
	s.now += 10
	r.KTime = s.now
	s.saw(&r, noon.Add(time.Duration(s.now)))
}

// failures are how the datapath broke the connection, the first first.
func (s *stage) failures() (all string) {
	for _, f := range s.account.of(key{pod, server}).failures {
		all += f.String()
	}
	return all
}

func (s *stage) fromPod(flags correlator.TCPFlags) {
	s.report(datapath.Report{What: datapath.Packet, Src: pod, Dst: server, Point: uint8(correlator.ToStack), Flags: uint8(flags)})
}

func (s *stage) toPod(flags correlator.TCPFlags) {
	s.report(datapath.Report{What: datapath.Packet, Src: server, Dst: pod, Point: uint8(correlator.ToEndpoint), Flags: uint8(flags)})
}

func (s *stage) fromHost(port uint16, flags correlator.TCPFlags) {
	s.report(datapath.Report{What: datapath.Packet, Src: snat(port), Dst: server, Point: uint8(correlator.ToNetwork), Flags: uint8(flags)})
}

func (s *stage) mapped(port uint16) {
	s.report(datapath.Report{What: datapath.Mapped, Src: pod, Dst: server, To: snat(port)})
}

func (s *stage) opened() {
	s.fromPod(correlator.SYN)
	s.mapped(20001)
	s.toPod(correlator.SYN | correlator.ACK)
	s.fromPod(correlator.ACK)
}

// TestWitness tells how the datapath broke a connection, from its reports.
func TestWitness(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*stage)
		want    string
	}{
		"evicted": {func(s *stage) { s.mapped(30000); s.toPod(correlator.RST) },
			"{renat lru_eviction 192.168.50.1:20001 192.168.50.1:30000}"},
		"deleted": {func(s *stage) { s.deleted[key{pod, server}] = s.now + 1; s.mapped(30000) },
			"{renat userspace_delete 192.168.50.1:20001 192.168.50.1:30000}"},
		"deleted, restored, evicted": {func(s *stage) {
			s.deleted[key{pod, server}] = s.now + 1
			s.report(datapath.Report{What: datapath.Restored, Src: pod, Dst: server, To: snat(20001)})
			s.mapped(30000)
		}, "{renat lru_eviction 192.168.50.1:20001 192.168.50.1:30000}"},
		"orphaned, then another port": {func(s *stage) { s.fromHost(20001, correlator.RST); s.mapped(30000) },
			"{orphaned_reply lru_eviction 192.168.50.1:20001 }"},
		"another address": {func(s *stage) {
			s.report(datapath.Report{What: datapath.Stale, Src: pod, Dst: server, To: snat(20001)})
			s.report(datapath.Report{What: datapath.Mapped, Src: pod, Dst: server, To: netip.AddrPortFrom(ipv4.other, 20001)})
			s.toPod(correlator.RST)
		}, "{egress_changed datapath_delete 192.168.50.1:20001 192.168.50.3:20001}"},
		"another address, evicted": {func(s *stage) {
			s.report(datapath.Report{What: datapath.Mapped, Src: pod, Dst: server, To: netip.AddrPortFrom(ipv4.other, 20001)})
		}, "{egress_changed lru_eviction 192.168.50.1:20001 192.168.50.3:20001}"},
		"same port":     {func(s *stage) { s.mapped(20001) }, ""},
		"closed before": {func(s *stage) { s.fromPod(correlator.FIN | correlator.ACK); s.mapped(30000) }, ""},
		"opened again":  {func(s *stage) { s.fromPod(correlator.RST); s.fromPod(correlator.SYN); s.mapped(30000) }, ""},
		"its opening orphaned, sent again": {func(s *stage) {
			s.fromPod(correlator.RST)
			s.fromPod(correlator.SYN)
			s.mapped(20001)
			s.fromHost(20001, correlator.RST)
			s.fromPod(correlator.SYN)
			s.mapped(20002)
			s.toPod(correlator.SYN | correlator.ACK)
			s.mapped(30000)
		}, "{renat lru_eviction 192.168.50.1:20002 192.168.50.1:30000}"},
		"a reset by the server": {func(s *stage) { s.toPod(correlator.RST); s.fromHost(20001, correlator.RST) }, ""},
	} {
		s := newStage()
		s.opened()
		c.happens(s)
		if got := s.failures(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestWitnessOwn tells how a connection of the node's own broke, and that its
// client's reset is no orphaned reply's.
func TestWitnessOwn(t *testing.T) {
	own := snat(20001)
	for want, happens := range map[string]func(*stage){
		"{renat lru_eviction 192.168.50.1:20001 192.168.50.1:30000}": func(s *stage) {
			s.report(datapath.Report{What: datapath.Mapped, Src: own, Dst: server, To: snat(30000)})
		},
		"": func(s *stage) {
			s.fromHost(20001, correlator.RST)
			s.report(datapath.Report{What: datapath.Mapped, Src: own, Dst: server, To: snat(30000)})
		},
	} {
		s := newStage()
		s.fromHost(20001, correlator.SYN)
		s.report(datapath.Report{What: datapath.Mapped, Src: own, Dst: server, To: own})
		s.fromHost(20001, correlator.ACK)
		happens(s)
		got := ""
		for _, f := range s.account.of(key{own, server}).failures {
			got += f.String()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestScore counts incidents that are right, wrong, too many and missing.
func TestScore(t *testing.T) {
	reset := errors.New("connection reset by peer")
	right := incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction,
		Source:      incident.Endpoint{IP: pod.Addr(), Port: pod.Port()},
		Destination: incident.Endpoint{IP: server.Addr(), Port: server.Port()},
		NAT:         incident.NAT{Before: snat(20001).String(), After: snat(30000).String()},
	}
	right.Outcome = incident.Reset
	wrong, unknown, unconfirmed := right, right, right
	unconfirmed.Outcome = incident.Unconfirmed
	wrong.NAT.After = snat(30001).String()
	unknown.Source.Port++
	for name, c := range map[string]struct {
		err       error
		failed    bool
		incidents []incident.Incident
		want      Row
	}{
		"works":                {want: Row{Connections: 1}},
		"named":                {reset, true, []incident.Incident{right}, Row{Connections: 1, Broken: 1, Named: 1}},
		"named twice":          {reset, true, []incident.Incident{right, right}, Row{Connections: 1, Broken: 1, Named: 1, False: 1}},
		"named wrongly":        {reset, true, []incident.Incident{wrong}, Row{Connections: 1, Broken: 1, Missed: 1, False: 1}},
		"missed":               {reset, true, nil, Row{Connections: 1, Broken: 1, Missed: 1}},
		"another cause":        {reset, false, nil, Row{Connections: 1, Broken: 1, Other: 1}},
		"not broken":           {nil, true, []incident.Incident{right}, Row{Connections: 1, False: 1}},
		"not broken after all": {nil, true, []incident.Incident{unconfirmed}, Row{Connections: 1, Survived: 1}},
		"unheard of":           {nil, false, []incident.Incident{unknown}, Row{Connections: 1, False: 1}},
	} {
		a := newAccount()
		a.probed(key{pod, server}, Idle, 0, c.err)
		a.accepted(key{pod, server}, snat(20001))
		if c.failed {
			a.failed(key{pod, server}, failure{kind: incident.Renat, cause: incident.LRUEviction, before: snat(20001), after: snat(30000)})
			a.wasReset(key{pod, server}, noon)
		}
		var stored []jetstream.Stored
		for i := range c.incidents {
			stored = append(stored, jetstream.Stored{Incident: &c.incidents[i], At: noon.Add(time.Millisecond)})
		}
		s := a.score(Config{}, stored)
		_, got := s.table()
		got.FailureRate = 0
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if l := s.latency(); c.want.Named == 1 && (l.Incidents != 1 || l.P50 != time.Millisecond || l.P99 != time.Millisecond) {
			t.Errorf("%s: latency %+v", name, l)
		}
	}
}

// TestFlows converts reports to flows and these back with the agent's reader.
func TestFlows(t *testing.T) {
	w := newFlowWriter(ipv4)
	for _, r := range []datapath.Report{
		{Src: pod, Dst: server, Point: uint8(correlator.ToStack), Reason: uint8(correlator.ReasonEstablished), Flags: uint8(correlator.PSH | correlator.ACK)},
		{Src: server, Dst: pod, Point: uint8(correlator.ToEndpoint), Reason: uint8(correlator.ReasonReply), Flags: uint8(correlator.RST)},
		{Src: snat(20001), Dst: server, Point: uint8(correlator.ToNetwork), Reason: uint8(correlator.ReasonNew), Flags: uint8(correlator.RST)},
	} {
		ev, ok, err := hubble.FromResponse(w.response(&r, noon))
		if !ok || err != nil {
			t.Fatalf("%+v: %v %v", r, ok, err)
		}
		want := correlator.Tuple{Src: correlator.AddrOf(r.Src), Dst: correlator.AddrOf(r.Dst), Protocol: correlator.TCP}
		if f := ev.Flow; ev.Tuple != want || ev.Time != noon.UnixNano() || f.Point != correlator.Point(r.Point) ||
			f.Reason != correlator.Reason(r.Reason) || f.Flags != correlator.TCPFlags(r.Flags) {
			t.Errorf("%+v became %+v", r, ev)
		}
		peer := ev.Flow.Src
		if r.Src == server {
			peer = ev.Flow.Dst
		}
		if r.Src != snat(20001) && (peer.Pod != "idle-7d4b9" || peer.Workload != "Deployment/idle" || peer.Identity != identityPods) {
			t.Errorf("%+v: the pod is %+v", r, peer)
		}
	}
}

func TestConfig(t *testing.T) {
	for says, c := range map[string]Config{
		"none, reply, both": {Restore: "some"},
		"is not one of egress_changed, host, map_replaced, no_port, timeout, tracking_lost": {Kind: "renat"},
		"map size 100":           {MapSize: 100},
		"3 connections":          {Connections: 3},
		"churn of -1":            {Churn: -1},
		"duration 1s is shorter": {Duration: time.Second},
		"patience -1ns":          {Patience: -1},
		"between 0s and 5s":      {HubbleLate: 6 * time.Second},
		"within the 1m0s":        {AgentAfter: time.Minute},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: error %v, want %q", c, err, says)
		}
	}
	if _, err := New(Config{}); err != nil {
		t.Error(err)
	}
}
