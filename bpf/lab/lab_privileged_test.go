// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/kprobes"
)

// family is one address family's part of the test.
type family struct {
	index int // into the addresses
	nat   func(*Datapath) *ebpf.Map
}

var families = []family{{0, (*Datapath).NAT4}, {1, (*Datapath).NAT6}}

// scene is a datapath, a tracer on it and one pod's connection to the server.
type scene struct {
	*network
	datapath *Datapath
	tracer   *kprobes.Tracer
	mu       sync.Mutex
	events   []correlator.Event
}

func newScene(t *testing.T, restore Restore, entries uint32) *scene {
	t.Helper()
	s := &scene{network: newNetwork(t)}
	const bpffs = "/sys/fs/bpf/lab"
	var err error
	s.datapath, err = New(Config{
		Pods4: netip.MustParsePrefix(podNet[0]), Pods6: netip.MustParsePrefix(podNet[1]),
		SNAT4: netip.MustParseAddr(nodeIP[0]), SNAT6: netip.MustParseAddr(nodeIP[1]),
		NATEntries: entries, Restore: restore, PinDir: bpffs + "/tc/globals",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.datapath.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.datapath.Attach("up0"); err != nil {
		t.Fatal(err)
	}
	if s.tracer, err = kprobes.New(kprobes.Config{BPFFS: bpffs, Everything: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- s.tracer.Run(ctx, func(e correlator.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := s.tracer.Close(); err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(10 * time.Second); len(s.tracer.Status().Maps) != 6; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the tracer watches %d maps", len(s.tracer.Status().Maps))
		}
	}
	return s
}

// connection is a TCP connection whose server end sends back what it is told.
type connection struct {
	pod, server net.Conn
	out, in     correlator.Tuple // of the entries made for it
}

func (s *scene) connect(t *testing.T, f family) *connection {
	t.Helper()
	var listener net.Listener
	var err error
	inside(t, s.server, func() { listener, err = net.Listen("tcp", net.JoinHostPort(server[f.index], "443")) })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := &connection{}
	inside(t, s.pod, func() { c.pod, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second) })
	if err != nil {
		t.Fatalf("%v\n%q", err, s.story(t, f))
	}
	t.Cleanup(func() { c.pod.Close() })
	if c.server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.server.Close() })
	pod := correlator.AddrOf(c.pod.LocalAddr().(*net.TCPAddr).AddrPort())
	far := correlator.AddrOf(c.pod.RemoteAddr().(*net.TCPAddr).AddrPort())
	snat := correlator.AddrOf(c.server.RemoteAddr().(*net.TCPAddr).AddrPort())
	c.out = correlator.Tuple{Src: pod, Dst: far, Protocol: correlator.TCP}
	c.in = correlator.Tuple{Src: far, Dst: snat, Protocol: correlator.TCP}
	if snat.AddrPort().Addr() != netip.MustParseAddr(nodeIP[f.index]) || snat.Port != pod.Port {
		t.Errorf("the server sees %v, want %s in port %d", snat, nodeIP[f.index], pod.Port)
	}
	return c
}

// say sends a line from one end to the other, where it may not arrive.
func say(from, to net.Conn) error { return sayWithin(time.Second, from, to) }

// patience is for what must come: on a busy host an emulated machine may stand
// still for a second.
const patience = 20 * time.Second

// tell sends a line that must arrive.
func tell(from, to net.Conn) error { return sayWithin(patience, from, to) }

func sayWithin(limit time.Duration, from, to net.Conn) error {
	deadline := time.Now().Add(limit)
	if err := errors.Join(from.SetDeadline(deadline), to.SetDeadline(deadline)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(from, "hello"); err != nil {
		return err
	}
	_, err := to.Read(make([]byte, 16))
	return err
}

// forget deletes an entry of the connection, as an eviction would.
func (s *scene) forget(t *testing.T, f family, tuple correlator.Tuple, flag byte) {
	t.Helper()
	key := []byte{}
	for _, ip := range []netip.Addr{tuple.Dst.AddrPort().Addr(), tuple.Src.AddrPort().Addr()} {
		key = append(key, ip.AsSlice()...)
	}
	key = append(key, byte(tuple.Dst.Port>>8), byte(tuple.Dst.Port), byte(tuple.Src.Port>>8), byte(tuple.Src.Port), byte(tuple.Protocol), flag)
	if err := f.nat(s.datapath).Delete(key); err != nil {
		t.Fatalf("deleting %v: %v", tuple, err)
	}
}

// deleted is the line of what forget does. Kprobes do not see the value.
func (s *scene) deleted(dir string, tuple correlator.Tuple, to correlator.Addr) string {
	line := fmt.Sprintf("delete %s %v errno 0", dir, tuple)
	if s.tracer.Status().Backend != kprobes.Kprobe {
		line += " to " + to.String()
	}
	return line + " by syscall"
}

// story returns what was done to a family's NAT map, as lines, and forgets it.
func (s *scene) story(t *testing.T, f family) []string {
	t.Helper()
	s.settle(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, e := range s.events {
		if e.Kind == correlator.KindNAT && !e.NAT.Map.CT && e.Tuple.Src.AddrPort().Addr().Is6() == (f.index == 1) {
			line := fmt.Sprintf("%v %v %v errno %d", e.NAT.Op, e.NAT.Dir, e.Tuple, e.NAT.Errno)
			if !e.NAT.To.IsZero() {
				line += " to " + e.NAT.To.String()
			}
			if e.NAT.Caller != nil {
				line += " by " + e.NAT.Caller.Program
			}
			lines = append(lines, line)
		}
	}
	s.events = nil
	return lines
}

// settle waits until all that was sent was received.
func (s *scene) settle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		before, err := s.tracer.Stats()
		if err != nil {
			t.Fatal(err)
		}
		after, err := s.tracer.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if after.Received >= before.Total.Sent {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d events were sent, %d received", before.Total.Sent, after.Received)
		}
	}
}

// wasReset reports whether an end of a connection was reset.
func wasReset(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("not reset, but %w", err)
	}
	return nil
}

// TestPrivilegedRenat loses a connection's OUT entry: its own IN entry takes
// the old port, it gets another one, and the server resets it.
func TestPrivilegedRenat(t *testing.T) {
	s := newScene(t, RestoreNothing, 512)
	for _, f := range families {
		c := s.connect(t, f)
		program := []string{"tail_handle_snat_fwd_ipv4", "tail_handle_snat_fwd_ipv6"}[f.index]
		if err := errors.Join(tell(c.pod, c.server), tell(c.server, c.pod)); err != nil {
			t.Fatal(err)
		}
		want := []string{
			fmt.Sprintf("insert IN %v errno 0 to %v by %s", c.in, c.out.Src, program),
			fmt.Sprintf("insert OUT %v errno 0 to %v by %s", c.out, c.in.Dst, program),
		}
		if got := s.story(t, f); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("a new connection:\n%q, want\n%q", got, want)
		}
		s.forget(t, f, c.out, 0)
		err := say(c.pod, c.server)
		if err == nil {
			err = say(c.pod, c.server)
		}
		if err == nil {
			t.Error("the connection lives on")
		}
		// Once told of, a reset is not told again.
		if reset := wasReset(c.pod); reset != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the pod: %v; before: %v", reset, err)
		}
		got := s.story(t, f)
		want = []string{
			s.deleted("OUT", c.out, c.in.Dst),
			fmt.Sprintf("insert IN %v errno 17 to %v by %s", c.in, c.out.Src, program),
		}
		if len(got) < 4 || fmt.Sprint(got[:2]) != fmt.Sprint(want) || c.snatPort(got[3]) {
			t.Errorf("after OUT was lost:\n%q, want\n%q and inserts with another port", got, want)
		}
	}
}

// snatPort reports whether a line names the connection's first SNAT port.
func (c *connection) snatPort(line string) bool {
	// insert DIR PROTO SRC -> DST errno N to ADDR …
	f := strings.Fields(line)
	return len(f) > 9 && f[9] == c.in.Dst.String()
}

// TestPrivilegedOrphan loses both entries and has the server send first: the
// node's own stack resets it, and that reset gets an entry of the node itself.
func TestPrivilegedOrphan(t *testing.T) {
	s := newScene(t, RestoreNothing, 512)
	for _, f := range families {
		c := s.connect(t, f)
		s.story(t, f)
		s.forget(t, f, c.out, 0)
		s.forget(t, f, c.in, 1)
		s.story(t, f)
		if err := say(c.server, c.pod); err == nil {
			t.Error("the reply arrived")
		}
		if err := wasReset(c.server); err != nil {
			t.Errorf("the server: %v", err)
		}
		want := fmt.Sprintf("insert IN %v errno 0 to %v by tail_handle_snat_fwd_ipv%d", c.in, c.in.Dst, 4+2*f.index)
		if got := s.story(t, f); len(got) == 0 || got[0] != want {
			t.Errorf("after both were lost:\n%q, want first\n%q", got, want)
		}
	}
}

// TestPrivilegedRestore has each half rebuilt from the other.
func TestPrivilegedRestore(t *testing.T) {
	s := newScene(t, RestoreBoth, 512)
	for _, f := range families {
		c := s.connect(t, f)
		s.story(t, f)
		s.forget(t, f, c.out, 0)
		if err := tell(c.server, c.pod); err != nil {
			t.Errorf("the server's reply did not rebuild OUT: %v", err)
		}
		s.forget(t, f, c.in, 1)
		if err := tell(c.pod, c.server); err != nil {
			t.Errorf("the pod's packet did not rebuild IN: %v", err)
		}
		want := []string{
			s.deleted("OUT", c.out, c.in.Dst),
			fmt.Sprintf("insert OUT %v errno 0 to %v by tail_nodeport_nat_ingress_ipv%d", c.out, c.in.Dst, 4+2*f.index),
			s.deleted("IN", c.in, c.out.Src),
			fmt.Sprintf("insert IN %v errno 0 to %v by tail_handle_snat_fwd_ipv%d", c.in, c.out.Src, 4+2*f.index),
		}
		if got := s.story(t, f); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("restores:\n%q, want\n%q", got, want)
		}
	}
}

// TestPrivilegedChurn fills a real LRU with real packets until an idle
// connection loses an entry, and wants both to be so: the eviction seen, the
// connection broken.
func TestPrivilegedChurn(t *testing.T) {
	s := newScene(t, RestoreNothing, 512)
	f := families[0]
	c := s.connect(t, f)
	inside(t, s.server, func() { echo(t, net.JoinHostPort(server[0], "9")) })
	evicted := false
	for i := 0; i < 40 && !evicted; i++ {
		onCPU(t, i%2) // an entry stays in the list of the CPU that made it until that CPU makes more
		inside(t, s.pod, func() { churn(t) })
		s.settle(t)
		s.mu.Lock()
		for _, e := range s.events {
			evicted = evicted || (e.NAT.Op == correlator.Evict && e.Tuple == c.out && e.NAT.To == c.in.Dst)
		}
		s.mu.Unlock()
	}
	stats, err := s.tracer.Stats()
	if err != nil || !evicted {
		t.Fatalf("the idle connection's OUT entry was not evicted: %+v %v", stats, err)
	}
	first := say(c.pod, c.server)
	if second := say(c.pod, c.server); first == nil && second == nil && !s.portKept(c) {
		t.Error("the connection got another port and lives")
	}
	t.Logf("evictions %d, connection: %v", stats.Total.Evictions, first)
}

// portKept reports whether the connection's mapping is as it was: both entries
// were evicted, and the pod sent first, which is harmless.
func (s *scene) portKept(c *connection) bool {
	to, ok, err := s.tracer.Lookup(c.out, correlator.Out)
	return err == nil && ok && to == c.in.Dst
}

func onCPU(t *testing.T, cpu int) {
	t.Helper()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
}

// churn makes 100 connections that use both their entries: those of a
// connection that was used once outlive entries that never were.
func churn(t *testing.T) {
	t.Helper()
	for range 100 {
		conn, err := net.Dial("udp", net.JoinHostPort(server[0], "9"))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := tell(conn, conn); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
	}
}
