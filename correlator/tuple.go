// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Protocol is an IP protocol number (IANA).
type Protocol uint8

// The protocols whose connections Cilium masquerades by port.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns Cilium's name of the protocol, or its number.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	case 1:
		return "ICMP"
	case 58:
		return "ICMPv6"
	}
	return strconv.Itoa(int(p))
}

// others are protocols by the names that IANA gave them. Nobody follows their
// connections, but a recording may have them.
var others = map[string]Protocol{"IGMP": 2, "IPIP": 4, "GRE": 47, "ESP": 50, "AH": 51, "OSPF": 89, "VRRP": 112}

// ParseProtocol is the inverse of Protocol.String, and knows some names more.
func ParseProtocol(s string) (Protocol, error) {
	if p, known := others[s]; known {
		return p, nil
	}
	for _, p := range []Protocol{TCP, UDP, SCTP, 1, 58} {
		if s == p.String() {
			return p, nil
		}
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("unknown protocol %q: give its number", s)
	}
	return Protocol(n), nil
}

// Addr is an IP address and port without pointers, so that tables of them
// cost the garbage collector nothing. IPv4 is kept in its v4-mapped form.
type Addr struct {
	IP   [16]byte
	Port uint16
}

// AddrOf converts from the standard library's form; a zone is dropped.
func AddrOf(a netip.AddrPort) Addr {
	return Addr{IP: a.Addr().As16(), Port: a.Port()}
}

// ParseAddr reads "10.0.0.1:443" or "[fd00::1]:443".
func ParseAddr(s string) (Addr, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return Addr{}, fmt.Errorf("%q is not ip:port or [ip]:port", s)
	}
	return AddrOf(a), nil
}

// AddrPort converts to the standard library's form, IPv4 unmapped.
func (a Addr) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.IP).Unmap(), a.Port)
}

// IsZero reports whether a is unset.
func (a Addr) IsZero() bool { return a == Addr{} }

// String returns ip:port, an IPv6 address in brackets.
func (a Addr) String() string { return a.AddrPort().String() }

// Tuple is a connection's 5-tuple in packet-header order.
type Tuple struct {
	Src, Dst Addr
	Protocol Protocol
}

// Reverse returns the tuple of the packets that answer.
func (t Tuple) Reverse() Tuple {
	return Tuple{Src: t.Dst, Dst: t.Src, Protocol: t.Protocol}
}

// String returns "TCP 10.0.0.1:40000 -> 192.0.2.1:443".
func (t Tuple) String() string {
	return t.Protocol.String() + " " + t.Src.String() + " -> " + t.Dst.String()
}
