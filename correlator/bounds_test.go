// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"math/rand/v2"
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
	for i := uint16(n - limit); i < n; i++ { // those remembered come back with another port
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
