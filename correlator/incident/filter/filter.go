// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// Filter chooses incidents. Fields of different names must all match; of the
// values of one field, one must. An empty field matches everything.
type Filter struct {
	// IDs begin so, in lower case.
	IDs        []string
	Kinds      []incident.Kind
	Causes     []incident.Cause
	Outcomes   []incident.Outcome
	Clusters   []string
	Nodes      []string
	Namespaces []string // the pod's
	// Pods begin so: [namespace/]pod.
	Pods []string
	// Workloads are [namespace/]kind/name, or the name alone; where no
	// workload is known, what incident.Endpoint.Owner says instead.
	Workloads []string
	// Destinations are servers: a DNS name or an address, with or without a port.
	Destinations []Destination
	// Networks have an address of either side, before or after translation.
	Networks []netip.Prefix
	// Ports of either side, before or after translation.
	Ports []uint16
	// Since and Until bound the incident's own time, both inclusive.
	Since, Until time.Time
}

// Destination is a server.
type Destination struct {
	Host string // a DNS name in lower case, or an address as netip.Addr writes it
	Port uint16 // 0: any
}

// Match reports whether the filter chooses i.
func (f *Filter) Match(i *incident.Incident) bool {
	return (f.Since.IsZero() || !i.Time.Before(f.Since)) &&
		(f.Until.IsZero() || !i.Time.After(f.Until)) &&
		oneOf(f.Kinds, i.Kind) && oneOf(f.Causes, i.Cause) && oneOf(f.Outcomes, i.Outcome) &&
		oneOf(f.Clusters, i.Cluster) && oneOf(f.Nodes, i.Node) && oneOf(f.Namespaces, i.Source.Namespace) &&
		f.matchesID(i.ID) && f.matchesPod(&i.Source) && f.matchesWorkload(&i.Source) && f.matchesDestination(&i.Destination) &&
		(len(f.Networks)+len(f.Ports) == 0 || f.matchesAddress(i))
}

// Empty reports whether the filter chooses everything.
func (f *Filter) Empty() bool {
	return len(f.IDs)+len(f.Kinds)+len(f.Causes)+len(f.Outcomes)+len(f.Clusters)+len(f.Nodes)+len(f.Namespaces)+len(f.Pods)+
		len(f.Workloads)+len(f.Destinations)+len(f.Networks)+len(f.Ports) == 0 && f.Since.IsZero() && f.Until.IsZero()
}

func oneOf[T comparable](wanted []T, v T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, v)
}

func (f *Filter) matchesID(id string) bool {
	return len(f.IDs) == 0 || slices.ContainsFunc(f.IDs, func(beginning string) bool { return strings.HasPrefix(id, beginning) })
}

func (f *Filter) matchesPod(e *incident.Endpoint) bool {
	return len(f.Pods) == 0 || slices.ContainsFunc(f.Pods, func(want string) bool {
		if namespace, pod, ok := strings.Cut(want, "/"); ok {
			return e.Namespace == namespace && strings.HasPrefix(e.Pod, pod)
		}
		return strings.HasPrefix(e.Pod, want)
	})
}

func (f *Filter) matchesWorkload(e *incident.Endpoint) bool {
	if len(f.Workloads) == 0 {
		return true
	}
	owner := e.Owner()
	return slices.ContainsFunc(f.Workloads, func(want string) bool {
		rest, ok := strings.CutSuffix(owner, want)
		return ok && (rest == "" || strings.HasSuffix(rest, "/"))
	})
}

func (f *Filter) matchesDestination(e *incident.Endpoint) bool {
	if len(f.Destinations) == 0 {
		return true
	}
	return slices.ContainsFunc(f.Destinations, func(want Destination) bool {
		return (want.Port == 0 || want.Port == e.Port) &&
			(want.Host == e.IP.String() || slices.ContainsFunc(e.Names, func(name string) bool { return strings.EqualFold(name, want.Host) }))
	})
}

// matchesAddress looks at all addresses and ports of the connection.
func (f *Filter) matchesAddress(i *incident.Incident) bool {
	all := make([]netip.AddrPort, 0, 4)
	all = append(all, i.Source.AddrPort(), i.Destination.AddrPort())
	for _, s := range []string{i.NAT.Before, i.NAT.After} {
		if ap, err := netip.ParseAddrPort(s); err == nil {
			all = append(all, ap)
		}
	}
	inNetwork := func(p netip.Prefix) bool {
		return slices.ContainsFunc(all, func(a netip.AddrPort) bool { return p.Contains(a.Addr()) })
	}
	hasPort := func(port uint16) bool {
		return slices.ContainsFunc(all, func(a netip.AddrPort) bool { return a.Port() == port })
	}
	return (len(f.Networks) == 0 || slices.ContainsFunc(f.Networks, inNetwork)) &&
		(len(f.Ports) == 0 || slices.ContainsFunc(f.Ports, hasPort))
}
