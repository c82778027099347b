// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// family is the addresses of one IP version.
type family struct {
	pods         netip.Prefix
	gateway      netip.Addr // the node, as pods see it
	node, server netip.Addr // the uplink's two ends
	other        netip.Addr // the node's second address there
	uplink       netip.Prefix
	forwarding   string // the file that turns it on
}

var (
	ipv4 = family{
		pods: netip.MustParsePrefix("10.0.1.0/24"), gateway: netip.MustParseAddr("10.0.1.1"),
		node: netip.MustParseAddr("192.168.50.1"), server: netip.MustParseAddr("192.168.50.2"), other: netip.MustParseAddr("192.168.50.3"),
		uplink: netip.MustParsePrefix("192.168.50.0/24"), forwarding: "/proc/sys/net/ipv4/ip_forward",
	}
	ipv6 = family{
		pods: netip.MustParsePrefix("fd01::/64"), gateway: netip.MustParseAddr("fd01::1"),
		node: netip.MustParseAddr("fd50::1"), server: netip.MustParseAddr("fd50::2"), other: netip.MustParseAddr("fd50::3"),
		uplink: netip.MustParsePrefix("fd50::/64"), forwarding: "/proc/sys/net/ipv6/conf/all/forwarding",
	}
)

// pod returns the address of the n-th pod.
func (f family) pod(n int) netip.Addr {
	a := f.pods.Addr().AsSlice()
	a[len(a)-1] = byte(10 + n)
	addr, _ := netip.AddrFromSlice(a)
	return addr
}

// space is a network namespace without a name.
type space struct{ handle netns.NsHandle }

// newSpace makes one, with its loopback device up.
func newSpace() (*space, error) {
	s := &space{handle: netns.None()}
	err := apart(func() (err error) {
		if s.handle, err = netns.New(); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		return up("lo")
	})
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *space) close() {
	if s.handle.IsOpen() {
		s.handle.Close()
	}
}

// do runs f on a thread in the namespace; sockets that f opens stay there.
func (s *space) do(f func() error) error {
	return apart(func() error {
		if err := netns.Set(s.handle); err != nil {
			return fmt.Errorf("entering a network namespace: %w", err)
		}
		return f()
	})
}

// apart runs f on a thread that then returns to the network namespace it came
// from, or else ends.
func apart(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("looking up the network namespace: %w", err)
			return
		}
		defer home.Close()
		defer func() {
			if netns.Set(home) == nil {
				runtime.UnlockOSThread()
			}
		}()
		done <- f()
	}()
	return <-done
}

// network is the three namespaces and what connects them.
type network struct {
	family
	pods, node, outside *space
}

const (
	podSide    = "pods0" // on the node
	uplinkName = "up0"   // on the node
	peerName   = "eth0"  // at the other ends
)

func newNetwork(f family, pods int) (*network, error) {
	n := &network{family: f}
	if err := n.build(pods); err != nil {
		n.close()
		return nil, fmt.Errorf("building the network: %w", err)
	}
	return n, nil
}

func (n *network) build(pods int) (err error) {
	for _, s := range []**space{&n.pods, &n.node, &n.outside} {
		if *s, err = newSpace(); err != nil {
			return err
		}
	}
	err = n.node.do(func() error {
		return errors.Join(os.WriteFile(n.forwarding, []byte("1"), 0),
			veth(podSide, n.pods), veth(uplinkName, n.outside),
			up(podSide, netip.PrefixFrom(n.gateway, n.family.pods.Bits())),
			up(uplinkName, netip.PrefixFrom(n.family.node, n.uplink.Bits()), netip.PrefixFrom(n.other, n.uplink.Bits())))
	})
	if err != nil {
		return err
	}
	err = n.outside.do(func() error { return up(peerName, netip.PrefixFrom(n.server, n.uplink.Bits())) })
	if err != nil {
		return err
	}
	return n.pods.do(func() error {
		var addrs []netip.Prefix
		for i := range pods {
			addrs = append(addrs, netip.PrefixFrom(n.pod(i), n.family.pods.Bits()))
		}
		if err := up(peerName, addrs...); err != nil {
			return err
		}
		link, err := netlink.LinkByName(peerName)
		if err == nil {
			err = netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: n.gateway.AsSlice()})
		}
		if err != nil {
			return fmt.Errorf("routing to the node: %w", err)
		}
		return nil
	})
}

func (n *network) close() {
	for _, s := range []*space{n.pods, n.node, n.outside} {
		if s != nil {
			s.close()
		}
	}
}

// veth connects the current namespace with another.
func veth(name string, to *space) error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peerName, PeerNamespace: netlink.NsFd(to.handle)}
	err := netlink.LinkAdd(pair)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("adding link %s: the kernel has no virtual Ethernet: load its module (modprobe veth): %w", name, err)
	}
	if err != nil {
		return fmt.Errorf("adding link %s: %w", name, err)
	}
	return nil
}

// up gives a device addresses, usable at once, and brings it up.
func up(name string, addrs ...netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a.String())
		if err != nil {
			return fmt.Errorf("reading address %s: %w", a, err)
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("giving %s address %s: %w", name, a, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing %s up: %w", name, err)
	}
	return nil
}
