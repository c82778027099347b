// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/kprobes"
)

// fakeKernel is a trace in no kernel.
type fakeKernel struct {
	mu     sync.Mutex
	emit   func(correlator.Event)
	chosen []kprobes.Selection
	closed bool
}

func (k *fakeKernel) Select(s kprobes.Selection) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.chosen = append(k.chosen, s)
	return nil
}

func (k *fakeKernel) Close() error {
	k.closed = true
	return nil
}

var natMap = &correlator.Map{Name: "cilium_snat_v4_external"}

func addr(t *testing.T, s string) correlator.Addr {
	t.Helper()
	a, err := correlator.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// run traces with a fake kernel while do goes on, and returns the lines.
func run(t *testing.T, q Query, do func(h *Hub, k *fakeKernel)) []nodestatus.TraceLine {
	t.Helper()
	k := &fakeKernel{}
	h := New(Config{
		Node:     "node-a",
		Trace:    func(emit func(correlator.Event)) (Kernel, error) { k.emit = emit; return k, nil },
		OfKernel: func(ktime uint64) int64 { return int64(ktime) },
		OfWall:   func(wall int64) int64 { return wall },
		Now:      func() int64 { return time.Now().UnixNano() },
		Wall:     func(at time.Time) time.Time { return at.UTC() },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var lines []nodestatus.TraceLine
	done := make(chan error)
	go func() {
		done <- h.Run(ctx, q, func(all []nodestatus.TraceLine) error {
			lines = append(lines, all...)
			return nil
		})
	}()
	synctest.Wait()
	do(h, k)
	time.Sleep(2 * time.Second)
	synctest.Wait()
	cancel()
	if err := <-done; err != nil || !k.closed || len(h.traces) != 0 {
		t.Errorf("it ended with %v, in the kernel: %v, in the hub: %d", err, k.closed, len(h.traces))
	}
	return lines
}

func whats(lines []nodestatus.TraceLine) (all []string) {
	for _, l := range lines {
		all = append(all, l.From+" "+l.What)
	}
	return all
}

// TestOneTimeline traces a pod by name: the kernel is told its address once
// Hubble shows it, flows that come late stand where they belong, those of the
// pod's SNAT port are the trace's, and those of others are not.
func TestOneTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod, server, snat := addr(t, "10.0.1.7:40000"), addr(t, "192.0.2.1:443"), addr(t, "10.0.0.1:50000")
		cart := &correlator.Peer{Namespace: "shop", Pod: "cart-1"}
		out := correlator.Tuple{Src: pod, Dst: server, Protocol: correlator.TCP}
		var begin int64
		flow := func(h *Hub, after time.Duration, tuple correlator.Tuple, src, dst *correlator.Peer, point correlator.Point) {
			h.Flow(&correlator.Event{Time: begin + int64(after), Kind: correlator.KindFlow, Tuple: tuple,
				Flow: correlator.Flow{Src: src, Dst: dst, Point: point, Flags: correlator.ACK, Reason: correlator.ReasonEstablished}})
		}
		var chosen []kprobes.Selection
		lines := run(t, Query{Namespace: "shop", Pod: "cart-1"}, func(h *Hub, k *fakeKernel) {
			begin = time.Now().UnixNano()
			if len(k.chosen) != 0 {
				t.Error("the kernel was told of an address that nobody knows")
			}
			flow(h, 0, out, cart, nil, correlator.ToStack)
			synctest.Wait()
			chosen = k.chosen
			made := begin - int64(90*time.Second)
			k.emit(correlator.Event{Time: begin, Kind: correlator.KindNAT, Tuple: out, NAT: correlator.NATChange{
				Op: correlator.Evict, To: snat, Created: made, KTime: uint64(begin + 300e6), Map: natMap}})
			k.emit(correlator.Event{Time: begin, Kind: correlator.KindNAT, Tuple: out, NAT: correlator.NATChange{
				Op: correlator.Insert, To: snat, Errno: 17, KTime: uint64(begin + 500e6), Map: natMap, CPU: 3,
				Caller: &correlator.Caller{Program: "tail_handle_snat_fwd_ipv4"}}})
			time.Sleep(550 * time.Millisecond)
			other := out
			other.Src.IP[15]++
			flow(h, 350*time.Millisecond, other, nil, nil, correlator.ToStack)
			flow(h, 400*time.Millisecond, correlator.Tuple{Src: snat, Dst: server, Protocol: correlator.TCP}, nil, nil, correlator.ToNetwork)
			flow(h, 540*time.Millisecond, out.Reverse(), nil, cart, correlator.ToEndpoint)
			h.Flow(&correlator.Event{Time: begin + 545e6, Kind: correlator.KindLoss, Loss: correlator.Loss{From: correlator.LossHubbleRing, Count: 7}})
		})
		pod.Port = 0
		if want := []kprobes.Selection{{Pod: pod}}; !slices.Equal(chosen, want) {
			t.Errorf("the kernel was told %+v, want %+v", chosen, want)
		}
		want := []string{"renat waiting", "renat tracing", "hubble to-stack", "kernel evict", "hubble to-network", "kernel insert", "hubble to-endpoint", "renat lost"}
		if got := whats(lines); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if l := lines[3]; l.AgeSeconds == nil || *l.AgeSeconds < 90 || *l.AgeSeconds > 91 || l.To != "10.0.0.1:50000" || l.Direction != "OUT" || l.Node != "node-a" {
			t.Errorf("the eviction: %+v", l)
		}
		if l := lines[5]; l.Error != "EEXIST" || l.Program != "tail_handle_snat_fwd_ipv4" || *l.CPU != 3 {
			t.Errorf("the insert: %+v", l)
		}
		if l := lines[6]; l.DestinationName != "shop/cart-1" || l.Flags != "ACK" || l.Reason != "established" || l.Source != "192.0.2.1:443" {
			t.Errorf("the packet: %+v", l)
		}
		if l := lines[7]; l.Count != 7 || l.Note != "hubble_ring" {
			t.Errorf("the loss: %+v", l)
		}
	})
}

// TestLast shows the last flows that came before the trace, and a slow reader
// what it missed.
func TestLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := addr(t, "10.0.1.7:40000")
		k := &fakeKernel{}
		now := func() int64 { return time.Now().UnixNano() }
		h := New(Config{
			Trace:    func(emit func(correlator.Event)) (Kernel, error) { k.emit = emit; return k, nil },
			OfKernel: func(ktime uint64) int64 { return int64(ktime) }, OfWall: func(wall int64) int64 { return wall },
			Now: now, Wall: func(at time.Time) time.Time { return at },
		})
		for i := range 20 {
			for _, host := range []byte{7, 8} {
				ev := correlator.Event{Time: now() + int64(i), Kind: correlator.KindFlow, Tuple: correlator.Tuple{Src: pod, Protocol: correlator.TCP}}
				ev.Tuple.Src.IP[15], ev.Tuple.Dst.Port = host, uint16(i)
				h.Flow(&ev)
			}
		}
		pod.Port = 0
		var ports []string
		var lost uint64
		stop := errors.New("enough")
		err := h.Run(t.Context(), Query{Pods: []correlator.Addr{pod}, Last: 3}, func(all []nodestatus.TraceLine) error {
			for _, l := range all {
				if l.From == nodestatus.FromHubble {
					ports = append(ports, l.Destination)
				}
				lost += l.Count
			}
			if lost > 0 {
				return stop
			}
			for range waiting + 5 {
				k.emit(correlator.Event{Time: now(), Kind: correlator.KindNAT, NAT: correlator.NATChange{Op: correlator.Insert, Map: natMap}})
			}
			return nil
		})
		if want := []string{"[::]:17", "[::]:18", "[::]:19"}; !errors.Is(err, stop) || lost != 5 || !slices.Equal(ports, want) {
			t.Errorf("%v, %q, %d lost", err, ports, lost)
		}
	})
}

// TestJoin looks back no further than it must, because the flows wait for it:
// to the last that are asked for, and to a named pod's newest addresses.
func TestJoin(t *testing.T) {
	cart := &correlator.Peer{Namespace: "shop", Pod: "cart-1"}
	converted := 0
	h := New(Config{OfWall: func(wall int64) int64 { converted++; return wall }})
	for i := range remembered + 10 {
		ev := correlator.Event{Time: int64(i), Kind: correlator.KindFlow, Flow: correlator.Flow{Src: cart},
			Tuple: correlator.Tuple{Src: addr(t, "10.0.1.7:40000"), Dst: addr(t, "192.0.2.1:443"), Protocol: correlator.TCP}}
		switch i {
		case 50, 60: // its IPv6 addresses, an old one and one that is newer
			ev.Tuple = correlator.Tuple{Src: addr(t, fmt.Sprintf("[fd00::%d]:40000", i)), Dst: addr(t, "[2001:db8::1]:443"), Protocol: correlator.TCP}
		}
		h.Flow(&ev)
	}
	for _, c := range []struct {
		query Query
		pods  []string
	}{
		{Query{Namespace: "shop", Pod: "cart-1", Last: 1000}, []string{"10.0.1.7:0", "[fd00::60]:0"}},
		{Query{Namespace: "shop", Pod: "cart-1", Last: 1000, Server: addr(t, "192.0.2.1:443")}, []string{"10.0.1.7:0"}},
		{Query{Namespace: "shop", Pod: "cart-1"}, []string{"10.0.1.7:0", "[fd00::60]:0"}},
		{Query{Server: addr(t, "192.0.2.1:443"), Last: 3}, nil},
	} {
		converted = 0
		tr := &trace{hub: h, query: c.query}
		h.join(tr)
		h.leave(tr)
		var pods []string
		for _, p := range tr.pods {
			pods = append(pods, p.String())
		}
		if !slices.Equal(pods, c.pods) || converted != c.query.Last || len(tr.last) != c.query.Last {
			t.Errorf("%+v: pods %q, %d flows, %d looked at", c.query, pods, len(tr.last), converted)
		}
		for i := range tr.last {
			if want := int64(remembered + 10 - len(tr.last) + i); tr.last[i].Time != want {
				t.Fatalf("flow %d is that of %d, want %d", i, tr.last[i].Time, want)
			}
		}
	}
}

// TestBothVersions traces a named pod to a server: its addresses of the other
// IP version are no reason to look for something else.
func TestBothVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := addr(t, "192.0.2.1:443")
		cart := &correlator.Peer{Namespace: "shop", Pod: "cart-1"}
		pod := addr(t, "10.0.1.7:0")
		lines := run(t, Query{Namespace: "shop", Pod: "cart-1", Server: server}, func(h *Hub, k *fakeKernel) {
			for _, src := range []string{"[fd00::7]:40000", "10.0.1.7:40000", "[fd00::7]:40001"} {
				h.Flow(&correlator.Event{Time: time.Now().UnixNano(), Kind: correlator.KindFlow, Flow: correlator.Flow{Src: cart},
					Tuple: correlator.Tuple{Src: addr(t, src), Dst: addr(t, "[2001:db8::1]:443"), Protocol: correlator.TCP}})
				synctest.Wait()
			}
			if want := []kprobes.Selection{{Pod: pod, Server: server}}; !slices.Equal(k.chosen, want) {
				t.Errorf("the kernel was told %+v, want %+v", k.chosen, want)
			}
		})
		if got, want := whats(lines), []string{"renat waiting", "renat tracing"}; !slices.Equal(got, want) || lines[1].Note != "shop/cart-1 10.0.1.7 to 192.0.2.1:443" {
			t.Errorf("got %q, want %q: %+v", got, want, lines)
		}
	})
}

// TestPorts shows the packets of the newest SNAT ports, however many there were.
func TestPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod, server, snat := addr(t, "10.0.1.7:0"), addr(t, "192.0.2.1:443"), addr(t, "10.0.0.1:0")
		lines := run(t, Query{Pods: []correlator.Addr{pod}}, func(h *Hub, k *fakeKernel) {
			pod.Port = 40000
			for i := range 2*maxPorts + 1 {
				snat.Port = uint16(50000 + i)
				for _, op := range []correlator.Op{correlator.Insert, correlator.Delete} { // the second is no other port
					k.emit(correlator.Event{Kind: correlator.KindNAT, Tuple: correlator.Tuple{Src: pod, Dst: server, Protocol: correlator.TCP},
						NAT: correlator.NATChange{Op: op, To: snat, KTime: uint64(time.Now().UnixNano()), Map: natMap}})
				}
			}
			synctest.Wait()
			for _, i := range []int{0, maxPorts, maxPorts + 1, 2 * maxPorts} {
				snat.Port = uint16(50000 + i)
				h.Flow(&correlator.Event{Time: time.Now().UnixNano(), Kind: correlator.KindFlow,
					Tuple: correlator.Tuple{Src: server, Dst: snat, Protocol: correlator.TCP}, Flow: correlator.Flow{Point: correlator.ToStack}})
			}
		})
		var shown []string
		for _, l := range lines {
			if l.From == nodestatus.FromHubble {
				shown = append(shown, l.Destination)
			}
		}
		if want := []string{"10.0.0.1:50513", "10.0.0.1:51024"}; !slices.Equal(shown, want) {
			t.Errorf("packets of %q, want %q", shown, want)
		}
	})
}

// TestQuery reads what people give, and says what is wrong with it.
func TestQuery(t *testing.T) {
	for text, wrong := range map[string]string{
		"pod=shop/cart-1":                        "",
		"ip=10.0.1.7&ip=fd00::7&protocol=tcp":    "",
		"ip=[fd00::7]:4000&to=[2001:db8::1]:443": "",
		"to=192.0.2.1:443&map=ct&last=10":        "",
		"":                                       "nothing chosen: give pod, ip or to",
		"protocol=TCP":                           "nothing chosen: give pod, ip or to",
		"pod=cart":                               `pod "cart" is not namespace/name`,
		"ip=somewhere":                           `ip "somewhere" is not ip, ip:port or [ip]:port`,
		"ip=10.0.1.7&ip=10.0.1.8":                "a trace follows one ip of IPv4 and one of IPv6",
		"ip=10.0.1.7&to=[2001:db8::1]:443":       "ip and to are of different IP versions",
		// kubectl renat trace gives all addresses of the pod.
		"ip=10.0.1.10&ip=fd00%3A%3A10&last=3&pod=shop%2Fcart-1&to=192.0.2.1%3A443": "",
		"ip=10.0.1.7&map=both":                     `map "both" is neither nat nor ct`,
		"ip=10.0.1.7&last=-1":                      `last "-1" is not a number from 0 to 1000`,
		"ip=10.0.1.7&protocol=carrier-pigeon":      `unknown protocol "CARRIER-PIGEON": give its number`,
		"pod=shop/cart-1&to=192.0.2.1&protocol=17": "",
	} {
		v, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		q, err := ParseQuery(v)
		if err != nil {
			got = err.Error()
		} else if !q.Server.IsZero() && len(q.selections(q.Pods)) > 1 {
			t.Errorf("%s: the kernel is told %+v", text, q.selections(q.Pods))
		}
		if got != wrong {
			t.Errorf("%s: %q, want %q", text, got, wrong)
		}
	}
}
