// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/kprobes"
)

// The addresses of the test: a pod that is the machine itself, the node's on
// the uplink, and a server in a network namespace of its own.
const (
	podAddr    = "10.0.1.10"
	snatAddr   = "192.168.50.1"
	serverAddr = "192.168.50.2"
)

// uplink connects the machine with the server's namespace and listens there.
func uplink(t *testing.T) net.Listener {
	t.Helper()
	runtime.LockOSThread() // namespaces belong to threads
	defer runtime.UnlockOSThread()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	up := func(name, addr string) {
		t.Helper()
		link, err := netlink.LinkByName(name)
		must(err)
		ip, err := netlink.ParseAddr(addr)
		must(err)
		must(netlink.AddrAdd(link, ip))
		must(netlink.LinkSetUp(link))
	}
	here, err := netns.Get()
	must(err)
	defer here.Close()
	there, err := netns.New()
	must(err)
	defer there.Close()
	must(netns.Set(here))
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up0"}, PeerName: "peer", PeerNamespace: netlink.NsFd(there)}))
	up("lo", podAddr+"/32")
	up("up0", snatAddr+"/24")
	must(netns.Set(there))
	up("peer", serverAddr+"/24")
	l, err := net.Listen("tcp", serverAddr+":443")
	must(err)
	must(netns.Set(here))
	t.Cleanup(func() { l.Close() })
	return l
}

// dial connects the pod with the server.
func dial(t *testing.T, l net.Listener) (pod, server net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(podAddr)}, Timeout: 10 * time.Second}
	pod, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return pod, server
}

// packet is a flow of a connection as Hubble shows it, of now.
func packet(port int, reply bool, flags *flow.TCPFlags) *observer.GetFlowsResponse {
	f := &flow.Flow{
		Time: timestamppb.Now(), Uuid: fmt.Sprint(port, reply, flags), NodeName: "node-a", Verdict: flow.Verdict_FORWARDED,
		IP:        &flow.IP{Source: podAddr, Destination: serverAddr},
		Source:    &flow.Endpoint{ID: 7, Identity: 1234, Namespace: "shop", PodName: "cart-1"},
		EventType: &flow.CiliumEventType{Type: 4, SubType: 3}, TraceObservationPoint: flow.TraceObservationPoint_TO_STACK,
		TraceReason: flow.TraceReason_ESTABLISHED,
	}
	tcp := &flow.TCP{SourcePort: uint32(port), DestinationPort: 443, Flags: flags}
	if reply {
		f.IP.Source, f.IP.Destination = f.IP.Destination, f.IP.Source
		f.Source, f.Destination = nil, f.Source
		f.EventType.SubType, f.TraceObservationPoint, f.TraceReason = 0, flow.TraceObservationPoint_TO_ENDPOINT, flow.TraceReason_REPLY
		tcp.SourcePort, tcp.DestinationPort = 443, uint32(port)
	}
	f.L4 = &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: tcp}}
	return &observer.GetFlowsResponse{ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: f}}
}

// recordLive starts renat record and waits until it follows the maps.
func recordLive(t *testing.T, l net.Listener, args ...string) (dir string, end func() string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "recording")
	ctx, cancel := context.WithCancel(t.Context())
	var said strings.Builder
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, streams{out: io.Discard, err: &said}, append([]string{"record", dir}, args...))
	}()
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		pod, server := dial(t, l)
		pod.Close()
		server.Close()
		// Of the files meta.json is written last.
		_, err := os.Stat(filepath.Join(dir, recording.MetaFile))
		if err == nil && len(readLines(t, filepath.Join(dir, recording.NATFile+".zst"))) > 0 {
			break
		}
		if time.Now().After(limit) {
			cancel()
			t.Fatalf("exit code %d: nothing recorded in 30 s\n%s", <-code, said.String())
		}
	}
	return dir, func() string {
		cancel()
		if c := <-code; c != usage.Done {
			t.Fatalf("exit code %d\n%s", c, said.String())
		}
		return said.String()
	}
}

// TestPrivilegedRecord breaks a connection in the lab's datapath while renat
// record looks on, and wants the replay to name it.
func TestPrivilegedRecord(t *testing.T) {
	const bpffs = "/sys/fs/bpf/record"
	listener := uplink(t)
	datapath, err := lab.New(lab.Config{
		Pods4: netip.MustParsePrefix("10.0.1.0/24"), SNAT4: netip.MustParseAddr(snatAddr), PinDir: bpffs + "/tc/globals",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := datapath.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := datapath.Attach("up0"); err != nil {
		t.Fatal(err)
	}
	observer, err := hubbletest.New(hubbletest.Config{Version: "cilium v1.20.2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(observer.Stop)
	dir, end := recordLive(t, listener, "--bpffs", bpffs, "--hubble-server", observer.Addr(), "--node-name", "node-a")

	pod, server := dial(t, listener)
	defer pod.Close()
	defer server.Close()
	port := pod.LocalAddr().(*net.TCPAddr).Port
	see := func(reply bool, flags *flow.TCPFlags) {
		t.Helper()
		if err := observer.Feed(packet(port, reply, flags)); err != nil {
			t.Fatal(err)
		}
	}
	see(false, &flow.TCPFlags{SYN: true})
	see(true, &flow.TCPFlags{SYN: true, ACK: true})
	see(false, &flow.TCPFlags{ACK: true})
	if _, err := fmt.Fprintln(pod, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(server).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	key := []byte{192, 168, 50, 2, 10, 0, 1, 10, 443 >> 8, 443 & 255, byte(port >> 8), byte(port), 6, 0}
	if err := datapath.NAT4().Delete(key); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(pod, "again"); err != nil {
		t.Fatal(err)
	}
	if _, err := pod.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the pod read %v, want a reset", err)
	}
	see(true, &flow.TCPFlags{RST: true, ACK: true})
	see(false, &flow.TCPFlags{PSH: true}) // Hubble withholds the newest
	time.Sleep(time.Second)
	t.Log(end())

	incidents := renat(t, "replay", dir, "-o", "json").must(t).incidents(t)
	if len(incidents) != 1 {
		t.Fatalf("%d incidents, want 1", len(incidents))
	}
	i := incidents[0]
	before := fmt.Sprintf("%s:%d", snatAddr, port)
	if i.Kind != incident.Renat || i.Cause != incident.UserspaceDelete || i.Outcome != incident.Reset || i.Node != "node-a" ||
		i.Source.AddrPort().String() != fmt.Sprintf("%s:%d", podAddr, port) || i.Source.Pod != "cart-1" ||
		i.NAT.Before != before || i.NAT.After == before || !strings.HasPrefix(i.NAT.After, snatAddr+":") || i.Map.MaxEntries != 512 {
		t.Errorf("incident %+v", i)
	}
	rec, err := recording.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m := rec.Meta; m.Kernel == "" || m.Backend != string(backend(t)) || m.PossibleCPUs != 2 || m.SNATIPv4 != snatAddr || m.CiliumVersion != "1.20.2" {
		t.Errorf("meta %+v", m)
	}
}

// backend is what this kernel's maps are watched with.
func backend(t *testing.T) kprobes.Backend {
	t.Helper()
	tracer, err := kprobes.New(kprobes.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	return tracer.Status().Backend
}

// endless emits operations that do not compress well, until it is stopped.
type endless struct{}

func (endless) Run(ctx context.Context, emit func(correlator.Event)) error {
	m := &correlator.Map{Name: "cilium_ct6_global", CT: true}
	rng := rand.New(rand.NewPCG(1, 2))
	for ctx.Err() == nil {
		ev := correlator.Event{Time: 1e18, Kind: correlator.KindNAT, NAT: correlator.NATChange{Op: correlator.Delete, Map: m}}
		ev.Tuple.Protocol = correlator.TCP
		for i := range ev.Tuple.Src.IP {
			ev.Tuple.Src.IP[i], ev.Tuple.Dst.IP[i] = byte(rng.Uint32()), byte(rng.Uint32())
		}
		emit(ev)
	}
	return ctx.Err()
}

// TestPrivilegedRecordOnFullDisk records onto a small file system: the error
// says what to do, and what there was room for replays.
func TestPrivilegedRecordOnFullDisk(t *testing.T) {
	const disk = "/tmp/small"
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", disk)
	server, err := hubbletest.New(hubbletest.Config{Listen: "unix:///tmp/full.sock"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	l := startRecord(t, server, &fakeKernel{source: endless{}}, nil)
	select {
	case err = <-l.done:
	case <-time.After(time.Minute):
		t.Fatal("the disk does not fill")
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room, or name a folder on another disk") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(l.err.String(), "received 0 flows and ") {
		t.Errorf("record said\n%s", l.err.String())
	}
	t.Setenv("TMPDIR", "/tmp") // the replay needs room, too
	if got := renat(t, "replay", l.dir); got.code != usage.Done || strings.Contains(got.err, "from 0 flows and 0 map operations") {
		t.Errorf("replay: exit code %d\n%s", got.code, got.err)
	}
}
