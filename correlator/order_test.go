// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

const testSettle = 300 * time.Millisecond

// TestOrderOfArrivalDecidesNothing feeds random histories of a few connections
// whose tuples and ports collide often, each in order of time and then in
// orders in which every event may be late by up to Hold.
func TestOrderOfArrivalDecidesNothing(t *testing.T) {
	incidents := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		events := randomHistory(rng, 400)
		want := verdicts(t, events)
		incidents += len(want)
		for range 5 {
			delayed := slices.Clone(events)
			delay(rng, delayed, testSettle)
			if got := verdicts(t, delayed); !slices.Equal(got, want) {
				t.Fatalf("seed %d: another order gave\n%q\nwant\n%q", seed, got, want)
			}
		}
	}
	if incidents < 300 {
		t.Errorf("the histories gave only %d incidents: they test too little", incidents)
	}
}

// verdicts returns every incident in full.
func verdicts(t *testing.T, events []correlator.Event) (all []string) {
	t.Helper()
	c := newCorrelator(t, correlator.Config{Settle: testSettle, MaxConnections: 100}, func(i *incident.Incident) {
		b, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i.ID+string(b))
	})
	for i := range events {
		c.Observe(&events[i])
	}
	c.Flush()
	if s := c.Stats(); s.Late+s.Early != 0 {
		t.Fatalf("%d events late, %d early", s.Late, s.Early)
	}
	return all
}

func newCorrelator(t testing.TB, cfg correlator.Config, emit func(*incident.Incident)) *correlator.Correlator {
	t.Helper()
	c, err := correlator.New(cfg, emit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// delay puts events into an order of arrival in which each is late by less than hold.
func delay(rng *rand.Rand, events []correlator.Event, hold time.Duration) {
	type arrival struct {
		at int64
		ev correlator.Event
	}
	arrivals := make([]arrival, len(events))
	for i, ev := range events {
		arrivals[i] = arrival{ev.Time + rng.Int64N(int64(hold)), ev}
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	for i, a := range arrivals {
		events[i] = a.ev
	}
}

// randomHistory returns n events in order of time, often several at the same.
func randomHistory(rng *rand.Rand, n int) []correlator.Event {
	m := &correlator.Map{Name: "cilium_snat_v4_external", MaxEntries: 8}
	ct := &correlator.Map{Name: "cilium_ct4_global", CT: true}
	callers := []*correlator.Caller{nil, {Program: "tail_handle_snat_fwd_ipv4"}, {Program: correlator.ProgramSyscall, Comm: "cilium-agent"}}
	events := make([]correlator.Event, n)
	at := start
	for i := range events {
		at += []int64{0, 1, 1e6, 20e6, 300e6}[rng.IntN(5)]
		pod := addr(10, rng.IntN(2), 40000)
		server, snat := addr(192, 0, 443), addr(172, 0, uint16(40000+rng.IntN(3)))
		ev := correlator.Event{Time: at, Kind: correlator.KindFlow, Tuple: correlator.Tuple{Src: pod, Dst: server, Protocol: correlator.TCP}}
		switch rng.IntN(8) {
		case 0, 1, 2: // the pod's or the server's packet
			ev.Flow.Point, ev.Flow.Reason = correlator.ToStack, correlator.ReasonEstablished
			ev.Flow.Flags = []correlator.TCPFlags{correlator.ACK, correlator.ACK, correlator.SYN, correlator.ACK | correlator.FIN, correlator.RST}[rng.IntN(5)]
			if rng.IntN(2) == 0 {
				ev.Tuple, ev.Flow.Point, ev.Flow.Reason = ev.Tuple.Reverse(), correlator.ToEndpoint, correlator.ReasonReply
			}
		case 3: // the host's reset
			ev.Tuple.Src, ev.Flow.Point, ev.Flow.Flags = snat, correlator.ToNetwork, correlator.RST
		case 4:
			ev.Kind = correlator.KindNAT
			ev.NAT = correlator.NATChange{Op: correlator.Insert, Map: ct, KTime: uint64(at)}
		default:
			ev.Kind = correlator.KindNAT
			ev.NAT = correlator.NATChange{
				Op: correlator.Op(1 + rng.IntN(3)), Map: m, To: snat, KTime: uint64(at),
				Caller: callers[rng.IntN(3)], Forced: rng.IntN(2) == 0,
			}
			if rng.IntN(2) == 0 {
				ev.NAT.Dir, ev.Tuple = correlator.In, correlator.Tuple{Src: server, Dst: snat, Protocol: correlator.TCP}
				ev.NAT.To = []correlator.Addr{pod, snat}[rng.IntN(2)]
				ev.NAT.Errno = []int16{0, 0, 17}[rng.IntN(3)]
			}
		}
		events[i] = ev
	}
	return events
}

func addr(a byte, b int, port uint16) correlator.Addr {
	return correlator.Addr{IP: [16]byte{10: 0xff, 11: 0xff, 12: a, 15: byte(b)}, Port: port}
}

// arrival is when an event comes.
type arrival struct {
	at int64
	ev *correlator.Event
}

// collectLive gives the correlator every event when late says, as a live agent
// does while time goes by.
func (s *scenario) collectLive(t *testing.T, late func(*correlator.Event) time.Duration, kernelRead func(now int64) int64) string {
	t.Helper()
	var arrivals []arrival
	for i := range s.events {
		ev := &s.events[i]
		arrivals = append(arrivals, arrival{ev.Time + int64(late(ev)), ev})
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return s.collect(t, correlator.Config{Hold: 20 * time.Millisecond, Patience: 5 * time.Second}, func(c *correlator.Correlator) {
		for now := start; len(arrivals) > 0; now += int64(10 * time.Millisecond) {
			for len(arrivals) > 0 && arrivals[0].at <= now {
				c.Observe(arrivals[0].ev)
				arrivals = arrivals[1:]
			}
			c.KernelRead(kernelRead(now))
			c.Advance(now)
		}
		c.KernelRead(start + int64(24*time.Hour))
		c.Advance(start + int64(24*time.Hour))
		c.Flush()
		if late := c.Stats().Late; late != 0 {
			t.Errorf("%d events were taken out of order", late)
		}
	})
}

// TestFlowsBehind delivers the kernel's events of every scenario at once and
// its flows seconds late, as a busy Hubble does: what is said must be the same.
func TestFlowsBehind(t *testing.T) {
	eachScenario(t, func(t *testing.T, s *scenario) {
		got := s.collectLive(t, func(ev *correlator.Event) time.Duration {
			if ev.Kind == correlator.KindFlow {
				return 2 * time.Second
			}
			return 0
		}, func(now int64) int64 { return now })
		if got != s.want {
			t.Errorf("got\n%swant\n%s", got, s.want)
		}
	})
}

// TestKernelBehind does it the other way round: whoever reads the kernel's
// events was kept from it for a second, now and then.
func TestKernelBehind(t *testing.T) {
	eachScenario(t, func(t *testing.T, s *scenario) {
		read := func(at int64) int64 { return at - at%int64(time.Second) } // in what second it happened
		got := s.collectLive(t, func(ev *correlator.Event) time.Duration {
			if ev.Kind == correlator.KindFlow {
				return 0
			}
			return time.Duration(read(ev.Time)+int64(time.Second)-ev.Time) - 1
		}, read)
		if got != s.want {
			t.Errorf("got\n%swant\n%s", got, s.want)
		}
	})
}

// TestResetIsNotKeptWaiting measures in event time how long after its RST's flow
// arrives a connection is named, however far Hubble is behind.
func TestResetIsNotKeptWaiting(t *testing.T) {
	for _, behind := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
		eachScenario(t, func(t *testing.T, s *scenario) {
			if !strings.Contains(s.want, " reset ") || strings.Count(s.want, "\n") != 1 {
				return
			}
			last := s.events[len(s.events)-1]
			if last.Kind != correlator.KindFlow || last.Flow.Flags&correlator.RST == 0 {
				return
			}
			arrives := last.Time + int64(behind)
			var named int64
			now := start
			s.collect(t, correlator.Config{Hold: 20 * time.Millisecond, Patience: 5 * time.Second}, func(c *correlator.Correlator) {
				for i := range s.events[:len(s.events)-1] {
					c.Observe(&s.events[i])
				}
				for now = last.Time; now < arrives; now += int64(time.Millisecond) {
					c.Advance(now)
				}
				c.Observe(&last)
				for ; c.Stats().Incidents == 0 && now < arrives+int64(time.Second); now += int64(time.Millisecond) {
					c.Advance(now)
				}
				named = now
			})
			if took := time.Duration(named - arrives); took > 45*time.Millisecond {
				t.Errorf("named %v after its RST arrived, Hubble being %v behind", took, behind)
			}
		})
	}
}
