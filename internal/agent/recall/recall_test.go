// SPDX-License-Identifier: Apache-2.0

package recall_test

import (
	"errors"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble/enrich"
	"github.com/renat-project/renat/internal/agent/recall"
)

var (
	start  = time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)
	tuple  = correlator.Tuple{Protocol: correlator.TCP, Src: addr("10.0.1.10:40000"), Dst: addr("192.0.2.1:443")}
	first  = addr("198.51.100.1:40000")
	second = addr("198.51.100.1:61565")
	natMap = &correlator.Map{Name: "cilium_snat_v4_external"}
)

func addr(s string) correlator.Addr {
	a, err := correlator.ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

// failure happened a minute after start; the connection was opened at start if
// that is known.
func failure(kind incident.Kind, opened bool) *incident.Incident {
	i := &incident.Incident{
		ID: "id-" + string(kind), Kind: kind, Cause: incident.LRUEviction, Outcome: incident.Reset, Time: start.Add(time.Minute), Protocol: "TCP",
		Source:      incident.Endpoint{IP: netip.MustParseAddr("10.0.1.10"), Port: 40000},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443},
		NAT:         incident.NAT{Before: "198.51.100.1:40000"},
	}
	if kind == incident.Renat {
		i.NAT.After = "198.51.100.1:61565"
	}
	if opened {
		i.Evidence = []incident.Evidence{{Time: start, Step: incident.Opened}}
	}
	return i
}

func flowAt(after time.Duration, t correlator.Tuple) *enrich.Flow {
	return &enrich.Flow{Tuple: t, Time: start.Add(after).UnixNano()}
}

func TestIncidentBelongsToItsConnection(t *testing.T) {
	host := correlator.Tuple{Protocol: correlator.TCP, Src: first, Dst: tuple.Dst}
	for name, c := range map[string]struct {
		kind        incident.Kind
		opened      bool
		flow        *enrich.Flow
		marked, was bool
	}{
		"at its opening":                 {incident.Renat, true, flowAt(0, tuple), true, false},
		"before its opening":             {incident.Renat, true, flowAt(-time.Second, tuple), false, false},
		"opening unseen":                 {incident.Renat, false, flowAt(-time.Second, tuple), true, false},
		"opening unseen, long before":    {incident.Renat, false, flowAt(-time.Hour, tuple), false, false},
		"before the failure":             {incident.Renat, true, flowAt(59*time.Second, tuple), true, false},
		"after the failure":              {incident.Renat, true, flowAt(61*time.Second, tuple), true, true},
		"the server's":                   {incident.Renat, true, flowAt(61*time.Second, tuple.Reverse()), true, true},
		"long after":                     {incident.Renat, true, flowAt(time.Hour, tuple), false, false},
		"the host's answer":              {incident.OrphanedReply, true, flowAt(time.Minute+10*time.Millisecond, host), true, false},
		"the host's own, later":          {incident.OrphanedReply, true, flowAt(62*time.Second, host), false, false},
		"the host's, of a re-NATted one": {incident.Renat, true, flowAt(time.Minute, host), false, false},
		"another port":                   {incident.Renat, true, flowAt(61*time.Second, correlator.Tuple{Protocol: correlator.TCP, Src: second, Dst: tuple.Dst}), false, false},
	} {
		b := recall.New(nil)
		b.Add(failure(c.kind, c.opened))
		a, ok := b.Find(c.flow)
		want := first
		if c.was {
			want = second
		}
		if ok != c.marked || ok && (a.Incident.ID != "id-"+string(c.kind) || a.PreNAT != tuple.Src || a.PostNAT != want || a.Was.IsZero() == c.was) {
			t.Errorf("%s: %v, %+v", name, ok, a)
		}
	}
}

func TestNextConnectionOfThePortIsNotMarked(t *testing.T) {
	b := recall.New(nil)
	b.Add(failure(incident.Renat, true))
	syn := flowAt(2*time.Minute, tuple)
	syn.Opens, syn.Direction = true, enrich.FromPod
	for _, f := range []*enrich.Flow{syn, flowAt(2*time.Minute+time.Second, tuple)} {
		if a, ok := b.Find(f); ok {
			t.Errorf("marked with %+v", a)
		}
	}
	if _, ok := b.Find(flowAt(90*time.Second, tuple)); !ok {
		t.Error("a flow from before is not marked any more")
	}
}

func TestBookIsBounded(t *testing.T) {
	b := recall.New(nil)
	const added = 1<<16 + 10
	for n := range added {
		i := failure(incident.Renat, true)
		i.ID, i.Source.IP = strconv.Itoa(n), netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		b.Add(i)
		b.Add(i)
	}
	find := func(n int) bool {
		t := tuple
		t.Src = correlator.AddrOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 40000))
		_, ok := b.Find(flowAt(time.Minute, t))
		return ok
	}
	if find(0) || find(9) || !find(10) || !find(added-1) {
		t.Error("not the oldest are forgotten")
	}
}

func TestMappings(t *testing.T) {
	mapped := map[correlator.Tuple]correlator.Addr{tuple: second}
	b := recall.New(func(t correlator.Tuple, d correlator.Dir, _ int64) (correlator.Addr, bool) {
		to, ok := mapped[t]
		return to, ok && d == correlator.Out
	})
	for _, f := range []*enrich.Flow{flowAt(0, tuple), flowAt(0, tuple.Reverse())} {
		if a, ok := b.Find(f); !ok || a != (enrich.Addition{PreNAT: tuple.Src, PostNAT: second}) {
			t.Errorf("%v, %+v", ok, a)
		}
	}
	f := flowAt(0, tuple)
	if found(b.Find(&enrich.Flow{Tuple: tuple.Reverse(), Direction: enrich.FromPod})) {
		t.Error("a packet from the server was taken for the pod's")
	}
	mapped[tuple] = tuple.Src // the host's own
	if found(b.Find(f)) {
		t.Error("a mapping to itself is none")
	}
}

// TestNetworkFlows asks for flows that have the address after translation.
func TestNetworkFlows(t *testing.T) {
	host := correlator.Tuple{Protocol: correlator.TCP, Src: addr("198.51.100.1:5000"), Dst: tuple.Dst}
	entries := map[correlator.Tuple]correlator.Addr{host.Reverse(): host.Src}
	b := recall.New(func(t correlator.Tuple, d correlator.Dir, _ int64) (correlator.Addr, bool) {
		to, ok := entries[t]
		return to, ok && d == correlator.In
	})
	was, is := tuple, tuple
	was.Src, is.Src = first, second
	entries[was.Reverse()], entries[is.Reverse()] = tuple.Src, tuple.Src
	find := func(after time.Duration, t correlator.Tuple) (enrich.Addition, bool) {
		f := flowAt(after, t)
		f.Network = true
		return b.Find(f)
	}
	for _, flow := range []correlator.Tuple{was, was.Reverse()} {
		if a, ok := find(time.Second, flow); !ok || a != (enrich.Addition{PreNAT: tuple.Src, PostNAT: first}) {
			t.Errorf("%v: %v, %+v", flow, ok, a)
		}
	}
	b.Add(failure(incident.Renat, true))
	if a, ok := find(time.Second, was); !ok || a.Incident == nil || a.PostNAT != first || !a.Was.IsZero() {
		t.Errorf("before the failure: %v, %+v", ok, a)
	}
	if a, ok := find(61*time.Second, is); !ok || a.Incident == nil || a.PreNAT != tuple.Src || a.PostNAT != second || a.Was != first {
		t.Errorf("after the failure: %v, %+v", ok, a)
	}
	if a, ok := find(time.Second, host); ok {
		t.Errorf("the host's own became %+v", a)
	}
	if found(b.Find(flowAt(time.Second, is))) {
		t.Error("a flow inside the node was taken for one outside")
	}
}

func found(_ enrich.Addition, ok bool) bool { return ok }

func operation(op correlator.Op, to correlator.Addr, at time.Time) *correlator.Event {
	return &correlator.Event{Kind: correlator.KindNAT, Time: at.UnixNano(), Tuple: tuple, NAT: correlator.NATChange{Op: op, To: to, Map: natMap}}
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		entry, found := first, true
		var fault error
		l := recall.NewLive(func(correlator.Tuple, correlator.Dir) (correlator.Addr, bool, error) {
			asked.Add(1)
			return entry, found, fault
		})
		want := func(what string, to correlator.Addr, ok bool, lookups int32) {
			t.Helper()
			got, is := l.Mapping(tuple, correlator.Out, time.Now().UnixNano())
			if is != ok || got != to || asked.Load() != lookups {
				t.Errorf("%s: %v %v after %d lookups, want %v %v after %d", what, got, is, asked.Load(), to, ok, lookups)
			}
		}
		want("first", first, true, 1)
		want("again", first, true, 1)
		time.Sleep(2 * time.Second)
		want("later", first, true, 2)
		found = false
		l.Note(operation(correlator.Evict, first, time.Now()))
		want("just evicted", first, true, 3)
		time.Sleep(time.Second)
		want("evicted a while ago", correlator.Addr{}, false, 4)
		entry, found = second, true
		l.Note(operation(correlator.Insert, second, time.Now()))
		want("inserted", second, true, 5)
		time.Sleep(time.Minute)
		fault, found = errors.New("the map is gone"), false
		want("in fault", correlator.Addr{}, false, 6)
	})
}

func TestTable(t *testing.T) {
	table := recall.NewTable()
	want := func(what string, at time.Time, to correlator.Addr) {
		t.Helper()
		if got, ok := table.Mapping(tuple, correlator.Out, at.UnixNano()); got != to || ok == to.IsZero() {
			t.Errorf("%s: %v, %v", what, got, ok)
		}
	}
	want("empty", start, correlator.Addr{})
	table.Note(operation(correlator.Insert, first, start))
	want("inserted", start, first)
	table.Note(operation(correlator.Evict, first, start.Add(time.Second)))
	want("before the eviction", start.Add(time.Second), first)
	want("after the eviction", start.Add(2*time.Second), correlator.Addr{})
	failed := operation(correlator.Insert, first, start)
	failed.NAT.Errno = 17
	table.Note(failed)
	want("insert failed", start.Add(2*time.Second), correlator.Addr{})
	table.Note(operation(correlator.Insert, second, start.Add(3*time.Second)))
	want("inserted again", start.Add(3*time.Second), second)
	table.Note(operation(correlator.Replaced, correlator.Addr{}, start.Add(4*time.Second)))
	want("replaced", start.Add(4*time.Second), correlator.Addr{})
}
