// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/sinks/jetstream"
)

// TestPlans makes connections of each class of a plan, of the fewest there may be.
func TestPlans(t *testing.T) {
	for kind, p := range plans {
		made := map[Class]bool{Churn: true}
		for i := range p.least() {
			made[p.mix[i]] = true
		}
		for _, c := range p.classes() {
			if !made[c] {
				t.Errorf("%q: %d connections have none of class %s", kind, p.least(), c)
			}
		}
	}
}

// TestScorePorts counts connections that were refused a port, and what an incident
// says of them.
func TestScorePorts(t *testing.T) {
	to := netip.AddrPortFrom(ipv4.server, portScarce)
	from := func(port uint16) key { return key{netip.AddrPortFrom(pod.Addr(), port), to} }
	right := incident.Incident{
		Kind: incident.NoPort, Cause: incident.PortsExhausted, Outcome: incident.Dropped, Time: noon,
		Destination: incident.Endpoint{IP: to.Addr(), Port: to.Port()},
		Ports:       &incident.Ports{Refused: 2, Pods: []incident.PodCount{{Name: "lab/crowd-7d4b9", Count: 2}}},
	}
	next, more, others, elsewhere := right, right, right, right
	next.Time = noon.Add(time.Minute)
	next.Ports = &incident.Ports{Refused: 1, Pods: []incident.PodCount{{Name: "lab/crowd-7d4b9", Count: 1}}}
	more.Ports = &incident.Ports{Refused: 3, Pods: right.Ports.Pods}
	others.Ports = &incident.Ports{Refused: 2, Pods: []incident.PodCount{{Name: "lab/idle-7d4b9", Count: 2}}}
	elsewhere.Destination.Port++
	for name, c := range map[string]struct {
		incidents []incident.Incident
		want      Row
	}{
		"named":         {[]incident.Incident{next, right}, Row{Connections: 3, Broken: 3, Named: 3}},
		"missed":        {nil, Row{Connections: 3, Broken: 3, Missed: 3}},
		"one minute":    {[]incident.Incident{right}, Row{Connections: 3, Broken: 3, Named: 2, Missed: 1}},
		"twice":         {[]incident.Incident{right, right, next}, Row{Connections: 3, Broken: 3, Named: 3, False: 1}},
		"too many":      {[]incident.Incident{more, next}, Row{Connections: 3, Broken: 3, Named: 1, Missed: 2, False: 1}},
		"other pods":    {[]incident.Incident{others, next}, Row{Connections: 3, Broken: 3, Named: 1, Missed: 2, False: 1}},
		"other servers": {[]incident.Incident{elsewhere, next}, Row{Connections: 3, Broken: 3, Named: 1, Missed: 2, False: 1}},
	} {
		a := newAccount()
		for _, r := range []struct {
			port uint16
			at   time.Duration
		}{{1, 0}, {2, time.Second}, {3, time.Second}, {4, 2 * time.Second}, {2, 3 * time.Second}, {5, time.Minute}} {
			a.refused(from(r.port), noon.Add(r.at)) // the second one's SYN is sent again
		}
		for _, port := range []uint16{1, 2, 5} { // the others were let in after all
			a.couldNotOpen(from(port), Crowd)
		}
		a.couldNotOpen(key{pod, server}, Idle)
		var stored []jetstream.Stored
		for i := range c.incidents {
			stored = append(stored, jetstream.Stored{Incident: &c.incidents[i]})
		}
		s := a.score(Config{Kind: incident.NoPort}, stored)
		_, got := s.table()
		got.FailureRate = 0
		if got != c.want || s.unopened != 1 {
			t.Errorf("%s: %+v, want %+v; %d could not be opened otherwise; %q", name, got, c.want, s.unopened, s.faults)
		}
	}
}

// TestScoreReplacement counts connections that broke because their map was replaced:
// one has an incident of its own, and all have one.
func TestScoreReplacement(t *testing.T) {
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(pod.Addr(), port) }
	own := incident.Incident{
		Kind: incident.OrphanedReply, Cause: incident.MapReplaced, Outcome: incident.Reset,
		Source:      incident.Endpoint{IP: pod.Addr(), Port: 1},
		Destination: incident.Endpoint{IP: server.Addr(), Port: server.Port()},
		NAT:         incident.NAT{Before: snat(1).String()},
	}
	second := own
	second.Source.Port, second.NAT.Before = 2, snat(2).String()
	all := second
	all.Kind, all.Map.MaxEntries = incident.MapReplacement, 2048
	all.Replaced = &incident.Replacement{Broken: 3, Reset: 3, MaxEntriesBefore: 1024, Pods: []incident.PodCount{{Name: "lab/replaced-7d4b9", Count: 3}}}
	few, size := all, all
	few.Replaced = &incident.Replacement{Broken: 2, Reset: 2, Pods: []incident.PodCount{{Name: "lab/replaced-7d4b9", Count: 2}}}
	size.Map.MaxEntries = 1024
	for name, c := range map[string]struct {
		incidents []incident.Incident
		want      Row
	}{
		"named":       {[]incident.Incident{own, all}, Row{Connections: 4, Broken: 3, Named: 3}},
		"missed":      {nil, Row{Connections: 4, Broken: 3, Missed: 3, False: 1}},
		"one alone":   {[]incident.Incident{own}, Row{Connections: 4, Broken: 3, Named: 1, Missed: 2}},
		"none alone":  {[]incident.Incident{all}, Row{Connections: 4, Broken: 3, Named: 3, False: 1}},
		"two alone":   {[]incident.Incident{own, second, all}, Row{Connections: 4, Broken: 3, Named: 3, False: 1}},
		"twice":       {[]incident.Incident{own, all, all}, Row{Connections: 4, Broken: 3, Named: 3, False: 1}},
		"too few":     {[]incident.Incident{own, few}, Row{Connections: 4, Broken: 3, Named: 1, Missed: 2, False: 1}},
		"other sizes": {[]incident.Incident{own, size}, Row{Connections: 4, Broken: 3, Named: 1, Missed: 2, False: 1}},
	} {
		a := newAccount()
		for port := range uint16(4) {
			k := key{at(port), server}
			a.accepted(k, snat(port))
			a.failed(k, failure{kind: incident.OrphanedReply, cause: incident.MapReplaced, before: snat(port)})
			if port == 0 {
				a.probed(k, Kept, 1, nil)
			} else {
				a.probed(k, Replaced, 1, os.ErrDeadlineExceeded)
			}
		}
		var stored []jetstream.Stored
		for i := range c.incidents {
			stored = append(stored, jetstream.Stored{Incident: &c.incidents[i]})
		}
		s := a.score(Config{Kind: incident.MapReplacement, MapSize: 1024}, stored)
		_, got := s.table()
		got.FailureRate = 0
		if got != c.want {
			t.Errorf("%s: %+v, want %+v; %q", name, got, c.want, s.faults)
		}
	}
}

// TestScoreTimeout wants the outcome timeout of a connection that no RST reaches.
func TestScoreTimeout(t *testing.T) {
	s := newStage()
	filtered := netip.AddrPortFrom(server.Addr(), portFiltered)
	s.report(datapath.Report{What: datapath.Mapped, Src: pod, Dst: filtered, To: snat(20001)})
	s.report(datapath.Report{What: datapath.Packet, Src: filtered, Dst: pod, Point: uint8(correlator.ToEndpoint), Flags: uint8(correlator.SYN | correlator.ACK)})
	s.report(datapath.Report{What: datapath.Mapped, Src: pod, Dst: filtered, To: snat(30000)})
	s.account.accepted(key{pod, filtered}, snat(20001))
	s.account.probed(key{pod, filtered}, Unanswered, 1, os.ErrDeadlineExceeded)
	for outcome, want := range map[incident.Outcome]Row{
		incident.Timeout:     {Connections: 1, Broken: 1, Named: 1},
		incident.Unconfirmed: {Connections: 1, Broken: 1, Missed: 1, False: 1},
		incident.Reset:       {Connections: 1, Broken: 1, Missed: 1, False: 1},
	} {
		_, got := s.account.score(Config{Kind: Timeouts}, []jetstream.Stored{{Incident: &incident.Incident{
			Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: outcome,
			Source:      incident.Endpoint{IP: pod.Addr(), Port: pod.Port()},
			Destination: incident.Endpoint{IP: filtered.Addr(), Port: filtered.Port()},
			NAT:         incident.NAT{Before: snat(20001).String(), After: snat(30000).String()},
		}}}).table()
		got.FailureRate = 0
		if got != want {
			t.Errorf("%s: %+v, want %+v", outcome, got, want)
		}
	}
}

// TestDrops has the witness and Hubble take packets that the datapath dropped.
func TestDrops(t *testing.T) {
	denied := datapath.Report{Src: server, Dst: pod, Reason: uint8(flow.DropReason_POLICY_DENIED), Flags: uint8(correlator.ACK)}
	refused := datapath.Report{Src: pod, Dst: server, Reason: uint8(flow.DropReason_NO_MAPPING_FOR_NAT_MASQUERADE), Flags: uint8(correlator.SYN)}
	w := newFlowWriter(ipv4)
	for _, r := range []datapath.Report{denied, refused} {
		r.What = datapath.Packet
		ev, ok, err := hubble.FromResponse(w.response(&r, noon))
		if !ok || err != nil || ev.Flow.Point != correlator.Dropped || ev.Flow.DropReason != uint16(r.Reason) || ev.Flow.Flags != correlator.TCPFlags(r.Flags) {
			t.Errorf("%+v became %+v: %v %v", r, ev, ok, err)
		}
	}
	for name, c := range map[string]struct {
		happens func(*stage)
		want    string
	}{
		"evicted": {func(*stage) {}, "{tracking_lost lru_eviction 192.168.50.1:20001 }"},
		"deleted": {func(s *stage) { s.untracked[key{pod, server}] = s.now + 1 }, "{tracking_lost userspace_delete 192.168.50.1:20001 }"},
		"deleted, tracked anew, evicted": {func(s *stage) {
			s.untracked[key{pod, server}] = s.now + 1
			s.report(datapath.Report{What: datapath.Packet, Src: pod, Dst: server, Point: uint8(correlator.ToStack), Reason: uint8(correlator.ReasonNew)})
		}, "{tracking_lost lru_eviction 192.168.50.1:20001 }"},
		"closed": {func(s *stage) { s.fromPod(correlator.FIN | correlator.ACK) }, ""},
		"replaced": {func(s *stage) {
			s.replaced = s.now + 1
			s.fromHost(20001, correlator.RST)
		}, "{orphaned_reply map_replaced 192.168.50.1:20001 }"},
	} {
		s := newStage()
		s.opened()
		c.happens(s)
		r := denied
		r.What = datapath.Packet
		s.report(r)
		if got := s.failures(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
