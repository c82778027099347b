// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// TestTablesAreBounded fills every table beyond its limit: the oldest goes and
// is counted, and what is left is still right.
func TestTablesAreBounded(t *testing.T) {
	const limit, n = 100, 1000
	nat := &correlator.Map{Name: "cilium_snat_v4_external"}
	found := map[uint16]bool{}
	c := newCorrelator(t, correlator.Config{MaxConnections: limit, MaxSuspects: limit / 10, Hold: time.Second}, func(i *incident.Incident) {
		if found[i.Source.Port] {
			t.Errorf("port %d: second incident", i.Source.Port)
		}
		found[i.Source.Port] = true
	})
	change := func(at int64, op correlator.Op, pod, snat uint16) {
		c.Observe(&correlator.Event{
			Time: at, Kind: correlator.KindNAT,
			Tuple: correlator.Tuple{Src: addr(10, 1, pod), Dst: addr(192, 0, 443), Protocol: correlator.TCP},
			NAT:   correlator.NATChange{Op: op, Map: nat, To: addr(172, 0, snat), KTime: uint64(at)},
		})
	}
	for i := range uint16(n) { // more connections than fit lose their entries
		change(start+int64(i), correlator.Evict, i, i)
	}
	for i := uint16(n - limit); i < n; i++ { // those remembered collide with their IN entries and come back with another port
		c.Observe(&correlator.Event{
			Time: start + 10e9, Kind: correlator.KindNAT,
			Tuple: correlator.Tuple{Src: addr(192, 0, 443), Dst: addr(172, 0, i), Protocol: correlator.TCP},
			NAT:   correlator.NATChange{Op: correlator.Insert, Dir: correlator.In, Errno: 17, Map: nat, To: addr(10, 1, i), KTime: uint64(start + 10e9)},
		})
		change(start+10e9+int64(i), correlator.Insert, i, i+10000)
	}
	for i := range uint16(n - limit) { // those forgotten do so unnoticed
		change(start+20e9+int64(i), correlator.Insert, i, i+10000)
	}
	c.Flush()
	s := c.Stats()
	if s.Connections != limit || s.ConnectionsForgotten != 2*(n-limit) || s.SuspectsForgotten != limit-limit/10 || s.Suspects != 0 || s.Held != 0 {
		t.Errorf("stats %+v", s)
	}
	if len(found) != limit {
		t.Errorf("%d incidents, want %d", len(found), limit)
	}
}

// TestSuspectsAreBounded makes a suspect of as many connections as may be, each
// with more evidence than it may keep, as where a map is replaced: what they take
// is bounded, and is given back.
func TestSuspectsAreBounded(t *testing.T) {
	const limit = 1 << 16
	nat := &correlator.Map{Name: "cilium_snat_v4_external"}
	c := newCorrelator(t, correlator.Config{MaxConnections: limit, MaxSuspects: limit, Hold: time.Millisecond}, func(*incident.Incident) {})
	change := func(at int64, op correlator.Op, pod, snat uint16) {
		c.Observe(&correlator.Event{
			Time: at, Kind: correlator.KindNAT,
			Tuple: correlator.Tuple{Src: addr(10, 1, pod), Dst: addr(192, 0, 443), Protocol: correlator.TCP},
			NAT:   correlator.NATChange{Op: op, Map: nat, To: addr(172, 0, snat), KTime: uint64(at)},
		})
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	burst := func(at int64, each int) {
		for step := range each {
			for port := range uint16(limit - 1) {
				at += 1000
				if step == 0 {
					change(at, correlator.Evict, port+1, port)
				} else {
					change(at, correlator.Insert, port+1, port+uint16(step))
				}
			}
			at += 1e6
		}
		c.Advance(at + 10e6)
	}
	burst(start, 1)
	before := heap()
	burst(start+1e9, 40)
	s := c.Stats()
	during := heap()
	c.Flush()
	after := heap()
	runtime.KeepAlive(c)
	t.Logf("%d suspects take %d MiB, %d MiB remain", s.Suspects, (during-before)>>20, (after-before)>>20)
	if s.Suspects != limit-1 || during-before > 100<<20 || after-before > 2<<20 {
		t.Errorf("%d suspects take %d MiB, %d MiB remain", s.Suspects, (during-before)>>20, (after-before)>>20)
	}
}

// TestHeldEventsAreBounded stops the clock: with more events than may wait, the
// oldest are taken early and counted, and none is lost.
func TestHeldEventsAreBounded(t *testing.T) {
	c := newCorrelator(t, correlator.Config{MaxHeld: 10}, func(*incident.Incident) {})
	for i := range 100 {
		ev := randomHistory(rand.New(rand.NewPCG(uint64(i), 1)), 1)[0]
		ev.Time = start + int64(i)*1e6
		c.Observe(&ev)
	}
	s := c.Stats()
	if s.Held > 10 || s.Early == 0 || s.Flows+s.NATChanges != 100 {
		t.Errorf("stats %+v", s)
	}
}

// TestClock checks what moves the clock and what is too late for it.
func TestClock(t *testing.T) {
	var got []*incident.Incident
	c := newCorrelator(t, correlator.Config{Hold: 20 * time.Millisecond}, func(i *incident.Incident) { got = append(got, i) })
	events := mustParse(t,
		"@0s  to-stack established ACK TCP pod:40000 -> server:443",
		"@1s  evict OUT TCP pod:40000 -> server:443 is node:40000",
		"@2s  insert OUT TCP pod:40000 -> server:443 is node:51288",
	)
	for i := range events {
		c.Observe(&events[i])
	}
	c.Advance(start + int64(4999*time.Millisecond))
	if len(got) != 0 {
		t.Fatal("decided before the settle time was over")
	}
	c.Advance(start + int64(5021*time.Millisecond))
	if len(got) != 1 {
		t.Fatalf("%d incidents after the settle time", len(got))
	}
	late := mustParse(t, "@4s to-stack established ACK TCP pod:40000 -> server:443")[0]
	c.Observe(&late)
	if s := c.Stats(); s.Late != 1 || s.Flows != 2 {
		t.Errorf("a late event: %+v", s)
	}
	for _, at := range []int64{0, -1, 1<<63 - 1} {
		late.Time = at
		c.Observe(&late)
	}
	if s := c.Stats(); s.Ignored != 3 {
		t.Errorf("%d events with unbelievable times ignored, want 3", s.Ignored)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []correlator.Config{
		{Settle: -1}, {Hold: -1}, {Settle: time.Hour}, {MaxConnections: -1}, {MaxSuspects: -1}, {MaxHeld: -1},
	} {
		if _, err := correlator.New(cfg, nil); err == nil {
			t.Errorf("New(%+v) succeeded", cfg)
		}
	}
}

func mustParse(t *testing.T, lines ...string) (events []correlator.Event) {
	t.Helper()
	names := hosts["IPv4"]
	maps := newScenarioMaps(names)
	for _, line := range lines {
		ev, err := parseEvent(line, names, maps)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events = append(events, ev)
	}
	return events
}

// TestPodsAnswersAreNoConnections shows answers of pods to other nodes' pods: they
// look as those that an egress gateway passes on, and take no place.
func TestPodsAnswersAreNoConnections(t *testing.T) {
	c := newCorrelator(t, correlator.Config{}, func(*incident.Incident) {})
	for n, from := range []*correlator.Peer{{Namespace: "shop", Pod: "db-0"}, {Identity: 2}, nil} {
		c.Observe(&correlator.Event{
			Time: start, Kind: correlator.KindFlow,
			Tuple: correlator.Tuple{Src: addr(10, n, 443), Dst: addr(10, 100, 40000), Protocol: correlator.TCP},
			Flow:  correlator.Flow{Point: correlator.ToOverlay, Reason: correlator.ReasonReply, Flags: correlator.ACK, Src: from},
		})
	}
	c.Flush()
	if s := c.Stats(); s.Connections != 2 {
		t.Errorf("%d connections, want 2", s.Connections)
	}
}

// TestEndOfInput ends the input 30 ms after a connection was re-NATted: Hubble may
// still have to show that what was re-NATted closed it, unless it has been shown.
func TestEndOfInput(t *testing.T) {
	begin := []string{
		"@0ms   to-stack new SYN TCP pod:40000 -> server:443 pod cart-1",
		"@1ms   to-endpoint reply SYN,ACK TCP server:443 -> pod:40000",
		"@2ms   to-stack established ACK TCP pod:40000 -> server:443 pod cart-1",
		"@20s   evict OUT TCP pod:40000 -> server:443 is node:40000",
		"@60s   insert OUT TCP pod:40000 -> server:443 is node:51288",
	}
	for name, c := range map[string]struct {
		last string
		want int
	}{
		"a flow of another":                {"@60.030s to-stack established ACK TCP pod2:40001 -> server:443", 0},
		"the packet that was re-NATted":    {"@60.030s to-stack established ACK,PSH TCP pod:40000 -> server:443", 1},
		"the RST that answers it":          {"@60.030s to-endpoint reply RST TCP server:443 -> pod:40000", 1},
		"the FIN that was re-NATted":       {"@60.030s to-stack established ACK,FIN TCP pod:40000 -> server:443", 0},
		"the SYN of another on that tuple": {"@60.030s to-stack new SYN TCP pod:40000 -> server:443", 0},
	} {
		t.Run(name, func(t *testing.T) {
			named := 0
			cor := newCorrelator(t, correlator.Config{}, func(*incident.Incident) { named++ })
			for _, ev := range mustParse(t, append(begin, c.last)...) {
				cor.Observe(&ev)
			}
			cor.Flush()
			if undecided := int(cor.Stats().Undecided); named != c.want || undecided != 1-c.want {
				t.Errorf("%d incidents and %d undecided, want %d and %d", named, undecided, c.want, 1-c.want)
			}
		})
	}
}

// TestLongTimeouts has Cilium keep silent connections for longer than by default:
// what breaks again within that time is the connection that failed already.
func TestLongTimeouts(t *testing.T) {
	nat := &correlator.Map{Name: "cilium_snat_v4_external"}
	tuple := correlator.Tuple{Src: addr(10, 1, 40000), Dst: addr(192, 0, 443), Protocol: correlator.TCP}
	for remembers, want := range map[time.Duration]int{0: 2, 12 * time.Hour: 1} {
		named := 0
		c := newCorrelator(t, correlator.Config{}, func(*incident.Incident) { named++ })
		if remembers != 0 {
			c.Remembers(remembers)
		}
		for n, at := range []time.Duration{time.Minute, 8 * time.Hour} {
			was, is := addr(172, 0, uint16(40000+n)), addr(172, 0, uint16(40001+n))
			in := correlator.Tuple{Src: tuple.Dst, Dst: was, Protocol: correlator.TCP}
			for i, change := range []correlator.NATChange{
				{Op: correlator.Evict, To: was},
				{Op: correlator.Insert, Dir: correlator.In, To: tuple.Src, Errno: 17},
				{Op: correlator.Insert, To: is},
			} {
				change.Map = nat
				ev := correlator.Event{Time: start + int64(at) + int64(i)*int64(10*time.Second), Kind: correlator.KindNAT, Tuple: tuple, NAT: change}
				if change.Dir == correlator.In {
					ev.Tuple = in
				}
				c.Observe(&ev)
			}
		}
		c.Flush()
		if named != want {
			t.Errorf("removals being remembered for %s, %d incidents", remembers, named)
		}
	}
}
