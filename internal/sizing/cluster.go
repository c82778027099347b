// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"fmt"
	"math"
)

// cluster is Cilium's settings, as far as they are known. What is in force on a
// node may be something else: agents were not restarted, a CiliumNodeConfig goes
// before the settings, or they are another cluster's.
type cluster struct {
	Settings
	known bool
}

// change is what is to be set, in entries; 0: what there is.
type change struct{ nat, ctTCP, ctAny int }

// of are the settings under which a node's agent starts.
func (c *cluster) of(n Node) Settings {
	if n.own != nil && c.known {
		return *n.own
	}
	return c.Settings
}

// set are the sizes that a node's maps should have, if that is known.
func (c *cluster) set(n Node) (Sizes, bool) {
	if !c.known {
		return Sizes{}, false
	}
	return c.of(n).On(n.Memory, n.CPUs, n.Cilium), true
}

// distributed reports whether a node's NAT map has, or may get, a distributed LRU.
func (c *cluster) distributed(n Node) bool { return n.Distributed || c.of(n).Distributed }

// after are the least and the most that a node's maps may have with ch, when
// Cilium's agent has started again: by its settings and by what it has now.
// What is known by neither is 0 at least, and Cilium's default at most.
func (c *cluster) after(n Node, ch change) (least, most Sizes) {
	set, _ := c.set(n)
	span := func(set, now, standard, changed int) (least, most int) {
		switch {
		case changed > 0:
			return changed, changed
		case set == 0 && now == 0:
			return 0, standard
		case set == 0 || now == 0:
			return max(set, now), max(set, now)
		}
		return min(set, now), max(set, now)
	}
	least.NAT, most.NAT = span(set.NAT, n.MaxEntries, defaultNAT, ch.nat)
	least.CTTCP, most.CTTCP = span(set.CTTCP, n.CTTCP, defaultCTTCP, ch.ctTCP)
	least.CTAny, most.CTAny = span(set.CTAny, n.CTAny, defaultCTAny, ch.ctAny)
	return least, most
}

// inForce reports whether a node's NAT map has the size that is set. Sizes by
// the ratio may differ by some: memory that the kernel counts changes with it.
func (c *cluster) inForce(n Node) bool {
	set, ok := c.set(n)
	if !ok || n.MaxEntries == 0 {
		return true
	}
	slack := 0
	if c.distributed(n) {
		slack = n.CPUs // the kernel rounds
	}
	if s := c.of(n); s.NAT == 0 && s.dynamic() {
		if n.Memory == 0 {
			return true // nobody knows
		}
		slack += set.NAT / 32
	}
	return math.Abs(float64(set.NAT-n.MaxEntries)) <= float64(slack)
}

// refuses says why a node's agent does not start with the settings; "" if it
// does, as far as is known.
func (c *cluster) refuses(n Node) string {
	if set, ok := c.set(n); ok && set.NAT > set.together() {
		return fmt.Sprintf("%s is more than %s and %s together, which are %d", set.Knob, keyCTTCP, keyCTAny, set.together())
	}
	return ""
}

// unit is what sizes must be a multiple of to be kept by every node's agent: the
// least common multiple of the possible CPUs of those with a distributed LRU.
// Agents since 1.19 round by themselves.
func (c *cluster) unit(nodes []Node) int {
	unit := 1
	for _, n := range nodes {
		if cpus := max(n.CPUs, 1); c.distributed(n) && !atLeast(n.Cilium, 1, 19) && unit <= maxEntries {
			unit = unit / gcd(unit, cpus) * cpus
		}
	}
	return unit
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// remade reports whether the agent of a node asks, or may ask, for connection tracking maps
// that are no multiple of its CPUs, and makes them anew whenever it starts.
func (c *cluster) remade(n Node) bool {
	if !c.distributed(n) || atLeast(n.Cilium, 1, 19) {
		return false
	}
	set, ok := c.set(n)
	cpus := max(n.CPUs, 1)
	return !ok || set.CTTCP%cpus != 0 || set.CTAny%cpus != 0
}

// solve advises on every map, and says what to change so that all of them are
// enough; nothing if they are. why says what keeps that from being possible.
// Sizes in entries are the same on all nodes, so a change shrinks no map.
func (c *cluster) solve(nodes []Node) (all []Advice, ch change, why string) {
	unit := c.unit(nodes)
	for range 20 { // more CT entries make more to collect at once; each round adds less
		before := ch
		all = nil
		need := 0
		for _, n := range nodes {
			_, most := c.after(n, ch)
			a := c.advise(n, most)
			if set, ok := c.set(n); ok && c.refuses(n) == "" {
				a.settle(n, set)
			}
			all = append(all, a)
			if a.Verdict == Grow || a.Verdict == Tight {
				need = max(need, a.Entries)
			}
			if c.refuses(n) != "" {
				need = max(need, c.of(n).NAT)
			}
		}
		if need == 0 {
			return all, change{}, ""
		}
		if need > maxEntries {
			why = fmt.Sprintf("%d entries are needed and Cilium allows %d: open fewer connections on a node, or collect closed ones sooner (conntrackGCInterval)", need, maxEntries)
		}
		now := c.together(nodes, min(need, maxEntries), 1)
		ch = c.together(nodes, now.nat, unit)
		if unit > now.nat || ch.nat < c.together(nodes, 0, 1).nat {
			return all, change{}, fmt.Sprintf("before 1.19 Cilium keeps a distributed LRU only if its size is a multiple of the possible CPUs, and no size in reach is one of all nodes': give nodes with equal CPUs a size of their own (CiliumNodeConfig), at least %d", now.nat)
		}
		if ch == before {
			break
		}
	}
	return all, ch, why
}

// together returns sizes, multiples of unit, with which all nodes have so many
// NAT entries and none less than now, and which Cilium takes.
func (c *cluster) together(nodes []Node, nat, unit int) change {
	ch := change{nat: nat}
	var largest Sizes
	for _, n := range nodes {
		_, most := c.after(n, change{})
		ch.nat = max(ch.nat, n.MaxEntries, c.of(n).NAT)
		if set, ok := c.set(n); ok {
			ch.nat = max(ch.nat, set.NAT)
		}
		largest.CTTCP, largest.CTAny = max(largest.CTTCP, most.CTTCP), max(largest.CTAny, most.CTAny)
	}
	ch.nat = align(min(ch.nat, maxEntries), unit)
	for _, n := range nodes {
		least, _ := c.after(n, change{})
		if c.remade(n) {
			ch.ctTCP, ch.ctAny = max(ch.ctTCP, largest.CTTCP), max(ch.ctAny, largest.CTAny)
		}
		if ch.nat > least.together() {
			ch.ctTCP = max(ch.ctTCP, largest.CTTCP, ch.nat-least.CTAny)
		}
	}
	ch.ctTCP, ch.ctAny = align(ch.ctTCP, unit), align(ch.ctAny, unit)
	return ch
}
