// SPDX-License-Identifier: Apache-2.0

package incident

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// AddrPort returns the endpoint's address and port.
func (e Endpoint) AddrPort() netip.AddrPort { return netip.AddrPortFrom(e.IP, e.Port) }

// Owner is namespace/kind/name of the workload, or what is known of the pod
// instead: namespace/pod, or its address.
func (e *Endpoint) Owner() string {
	if e.Workload != "" {
		return strings.TrimPrefix(e.Namespace+"/"+e.Workload, "/")
	}
	return e.PodName()
}

// PodName is namespace/pod, or the address where no pod is known.
func (e *Endpoint) PodName() string {
	if e.Pod == "" {
		return e.IP.String()
	}
	return strings.TrimPrefix(e.Namespace+"/"+e.Pod, "/")
}

// Host is the endpoint's DNS name if one is known, else its address. Hubble
// orders names by age, and which of several was used is not known: the first
// in the alphabet makes a server always have the same.
func (e *Endpoint) Host() string {
	if len(e.Names) > 0 {
		return slices.Min(e.Names)
	}
	return e.IP.String()
}

// HostPort is Host and the port, an IPv6 address in brackets.
func (e *Endpoint) HostPort() string {
	return net.JoinHostPort(e.Host(), strconv.Itoa(int(e.Port)))
}
