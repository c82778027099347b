// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lab

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// The network of the tests: a pod's namespace, the node's (the machine's own),
// a server's. The server knows no way to the pod.
var (
	podNet  = []string{"10.0.1.0/24", "fd01::/64"}
	podIP   = []string{"10.0.1.10", "fd01::10"}
	gateway = []string{"10.0.1.1", "fd01::1"}
	nodeIP  = []string{"192.168.50.1", "fd50::1"}
	server  = []string{"192.168.50.2", "fd50::2"}
)

// network holds the namespaces; the pod's and the server's are entered by inside.
type network struct{ pod, node, server netns.NsHandle }

func newNetwork(t *testing.T) *network {
	t.Helper()
	runtime.LockOSThread() // namespaces belong to threads
	t.Cleanup(runtime.UnlockOSThread)
	n := &network{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	n.node, err = netns.Get()
	must(err)
	for _, ns := range []*netns.NsHandle{&n.pod, &n.server} {
		*ns, err = netns.New()
		must(err)
		must(netns.Set(n.node))
		t.Cleanup(func() { ns.Close() })
	}
	for _, file := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		must(os.WriteFile("/proc/sys/net/"+file, []byte("1"), 0))
	}
	n.connect(t, "pod0", gateway, n.pod, podIP)
	n.connect(t, "up0", nodeIP, n.server, server)
	inside(t, n.pod, func() {
		link, err := netlink.LinkByName("peer")
		must(err)
		for _, g := range gateway {
			must(netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: netip.MustParseAddr(g).AsSlice()}))
		}
	})
	t.Cleanup(func() {
		for _, name := range []string{"pod0", "up0"} {
			if link, err := netlink.LinkByName(name); err == nil {
				if err := netlink.LinkDel(link); err != nil {
					t.Error(err)
				}
			}
		}
	})
	return n
}

// connect makes a veth pair between the node and a namespace.
func (n *network) connect(t *testing.T, name string, here []string, ns netns.NsHandle, there []string) {
	t.Helper()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer", PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	up(t, name, here)
	inside(t, ns, func() { up(t, "peer", there) })
}

// up gives a device its addresses, at once usable, and brings it up.
func up(t *testing.T, name string, addrs []string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range addrs {
		ip, err := netlink.ParseAddr(a + []string{"/24", "/64"}[i])
		if err != nil {
			t.Fatal(err)
		}
		ip.Flags = 2 // IFA_F_NODAD
		if err := netlink.AddrAdd(link, ip); err != nil {
			t.Fatal(err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
}

// inside runs f in a namespace, on this thread.
func inside(t *testing.T, ns netns.NsHandle, f func()) {
	t.Helper()
	back, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(back); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// echo answers UDP packets until the test ends.
func echo(t *testing.T, at string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	t.Cleanup(func() {
		conn.Close()
		done.Wait()
	})
	done.Go(func() {
		buf := make([]byte, 16)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := conn.WriteTo(buf[:n], from); err != nil {
				return
			}
		}
	})
}
