// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/renat-project/renat/correlator"
)

func addr(t *testing.T, s string) correlator.Addr {
	t.Helper()
	a, err := correlator.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFromResponse(t *testing.T) {
	want := correlator.Event{
		Time: 1795387885734813010, Kind: correlator.KindFlow,
		Tuple: correlator.Tuple{Src: addr(t, "[fd00::1]:40000"), Dst: addr(t, "[2001:db8::1]:65535"), Protocol: correlator.TCP},
		Flow: correlator.Flow{
			Src: &correlator.Peer{
				Identity: 4711, Namespace: "shop", Pod: "cart-1", Workload: "Deployment/cart",
				Labels: []string{"k8s:app=cart", "k8s:tier=ü"}, Names: []string{""},
			},
			Dst:   &correlator.Peer{Identity: 2, Labels: []string{"reserved:world"}, Names: []string{"db.example.com", "db2.example.com"}},
			Flags: correlator.SYN | correlator.NS, Point: correlator.ToNetwork, Reason: correlator.ReasonEstablished,
			Xlated: addr(t, "[2001:db8::2]:0").IP,
		},
	}
	got, ok, err := FromResponse(full())
	if err != nil || !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v ok=%v err=%v\nwant %+v", got, ok, err, want)
	}
	want = correlator.Event{
		Time: 1795387885000000001, Kind: correlator.KindLoss,
		Loss: correlator.Loss{From: correlator.LossHubblePerf, Count: 42, First: 1795387884e9, Last: 1795387885e9},
	}
	if got, ok, err = FromResponse(lostResponse()); err != nil || !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v ok=%v err=%v\nwant %+v", got, ok, err, want)
	}
}

func TestFromResponseChanged(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*flow.Flow)
		check  func(correlator.Event) bool // nil: nothing is emitted
		err    error
	}{
		{"UDP", func(f *flow.Flow) {
			f.L4 = &flow.Layer4{Protocol: &flow.Layer4_UDP{UDP: &flow.UDP{SourcePort: 53, DestinationPort: 54}}}
		}, func(ev correlator.Event) bool {
			return ev.Tuple.Protocol == correlator.UDP && ev.Tuple.Src.Port == 53 && ev.Tuple.Dst.Port == 54 && ev.Flow.Flags == 0
		}, nil},
		{"SCTP", func(f *flow.Flow) {
			f.L4 = &flow.Layer4{Protocol: &flow.Layer4_SCTP{SCTP: &flow.SCTP{SourcePort: 1, ChunkType: flow.SCTPChunkType_ABORT}}}
		}, func(ev correlator.Event) bool {
			return ev.Tuple.Protocol == correlator.SCTP && ev.Tuple.Src.Port == 1 && ev.Flow.Flags == 0
		}, nil},
		{"ICMP", func(f *flow.Flow) {
			f.L4 = &flow.Layer4{Protocol: &flow.Layer4_ICMPv6{ICMPv6: &flow.ICMPv6{Type: 1}}}
		}, nil, nil},
		{"no layer 4", func(f *flow.Flow) { f.L4 = nil }, nil, nil},
		{"other point", func(f *flow.Flow) { f.TraceObservationPoint = flow.TraceObservationPoint_FROM_ENDPOINT }, nil, nil},
		{"IPv4", func(f *flow.Flow) { f.IP = &flow.IP{Source: "10.0.0.1", Destination: "192.0.2.1"} }, func(ev correlator.Event) bool {
			return ev.Tuple.String() == "TCP 10.0.0.1:40000 -> 192.0.2.1:65535" && ev.Flow.Xlated == [16]byte{}
		}, nil},
		{"drop", func(f *flow.Flow) {
			f.EventType.Type, f.TraceObservationPoint, f.DropReasonDesc = 1, 0, flow.DropReason_NO_MAPPING_FOR_NAT_MASQUERADE
		}, func(ev correlator.Event) bool {
			return ev.Flow.Point == correlator.Dropped && ev.Flow.DropReason == 167
		}, nil},
		{"reason of a later Cilium", func(f *flow.Flow) { f.TraceReason = 300 }, func(ev correlator.Event) bool {
			return ev.Flow.Reason == correlator.ReasonUnknown
		}, nil},
		{"masked peers of which nothing is known", func(f *flow.Flow) {
			f.Source, f.SourceNames, f.Destination, f.DestinationNames = &flow.Endpoint{}, nil, nil, nil
		}, func(ev correlator.Event) bool { return ev.Flow.Src == nil && ev.Flow.Dst == nil }, nil},
		{"workload without kind", func(f *flow.Flow) { f.Source.Workloads = []*flow.Workload{{Name: "cart"}} }, func(ev correlator.Event) bool {
			return ev.Flow.Src.Workload == "cart"
		}, nil},
		{"no time", func(f *flow.Flow) { f.Time = nil }, nil, errTime},
		{"bad time", func(f *flow.Flow) { f.Time.Nanos = 1e9 }, nil, errTime},
		{"no address", func(f *flow.Flow) { f.IP.Destination = "" }, nil, errAddress},
		{"translated to no address", func(f *flow.Flow) { f.IP.SourceXlated = "node" }, nil, errAddress},
		{"on the way to another node", func(f *flow.Flow) { f.TraceObservationPoint = flow.TraceObservationPoint_TO_OVERLAY }, func(ev correlator.Event) bool {
			return ev.Flow.Point == correlator.ToOverlay
		}, nil},
		{"bad port", func(f *flow.Flow) { f.GetL4().GetTCP().DestinationPort = 1 << 16 }, nil, errPort},
	} {
		resp := full()
		c.change(resp.GetFlow())
		ev, ok, err := FromResponse(resp)
		if !errors.Is(err, c.err) || ok != (c.check != nil) || ok && !c.check(ev) {
			t.Errorf("%s: got %+v ok=%v err=%v", c.name, ev, ok, err)
		}
		agree(t, newDecoder(4), encode(t, resp))
	}
	if _, ok, err := FromResponse(&observer.GetFlowsResponse{}); ok || err != nil {
		t.Errorf("an empty response: ok=%v err=%v", ok, err)
	}
}

func TestPeerCacheIsBounded(t *testing.T) {
	c := newPeerCache(10)
	get := func(identity int, names string) *correlator.Peer {
		e := endpoint{raw: encode(t, &flow.Endpoint{Identity: uint32(identity)})}
		if names != "" {
			e.addName(names)
		}
		p, ok := c.get(&e)
		if !ok {
			t.Fatal("refused")
		}
		return p
	}
	busy, named := get(1, ""), get(1, "example.com")
	if busy == named || len(named.Names) != 1 {
		t.Error("a peer with names is the one without")
	}
	for n := 2; n < 1000; n++ {
		get(n, "")
		if get(1, "") != busy || get(1, "example.com") != named {
			t.Fatalf("a peer in use became another one after %d others", n)
		}
		if held := c.young.len() + c.old.len(); held > 10 {
			t.Fatalf("%d peers held, want at most 10", held)
		}
	}
}

func TestWindow(t *testing.T) {
	var w window
	if w.resume(5) != 0 {
		t.Error("a window that saw nothing knows where to resume")
	}
	for n := range int64(3 * windowSize) {
		if repeat, gap := w.add(100+n, uint64(n), true); repeat || gap {
			t.Fatal("repeat or gap before any interruption")
		}
	}
	last, oldest := int64(100+3*windowSize-1), int64(100+2*windowSize)
	if got := w.resume(10); got != last-10 {
		t.Errorf("resumes at %d, want %d", got, last-10)
	}
	if got := w.resume(1 << 40); got != oldest+1 {
		t.Errorf("resumes at %d, want %d, behind the oldest event it remembers", got, oldest+1)
	}
	if repeat, gap := w.add(last, uint64(3*windowSize-1), true); !repeat || gap {
		t.Errorf("the last flow again: repeat=%v gap=%v", repeat, gap)
	}
	if repeat, gap := w.add(last+1, 1<<50, true); repeat || gap {
		t.Errorf("the next flow: repeat=%v gap=%v", repeat, gap)
	}
	w.resume(10)
	if repeat, gap := w.add(last+500, 1<<51, false); repeat || gap {
		t.Errorf("a loss first: repeat=%v gap=%v", repeat, gap)
	}
	if repeat, gap := w.add(last+500, 1<<52, true); repeat || !gap {
		t.Errorf("a flow without a repeat before it: repeat=%v gap=%v", repeat, gap)
	}
}

func TestBackoff(t *testing.T) {
	c := &Client{cfg: Config{MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second}}
	for failures, limit := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		limit *= time.Millisecond
		if d := c.backoff(failures); d < limit/2 || d > limit {
			t.Errorf("after %d failures: %v, want %v to %v", failures, d, limit/2, limit)
		}
	}
	if d := c.backoff(1 << 20); d > time.Second {
		t.Errorf("after very many failures: %v", d)
	}
}

func TestAdviceOnPermission(t *testing.T) {
	c := &Client{cfg: Config{Address: DefaultAddress}}
	conn := &connection{}
	conn.note(fs.ErrPermission)
	err := c.explain(conn, status.Error(codes.Unavailable, "x"))
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "group cilium") || !strings.Contains(err.Error(), DefaultAddress) {
		t.Errorf("error %v", err)
	}
}
