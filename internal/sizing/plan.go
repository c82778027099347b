// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"fmt"
	"math/bits"
	"strconv"
	"time"
)

// Bytes of an element of a hash map: struct htab_elem (48), the key rounded up
// to 8 bytes, the value; and of a bucket.
const (
	bytesNAT4   = 104
	bytesNAT6   = 144
	bytesNeigh4 = 64
	bytesNeigh6 = 72
	bytesBucket = 16
)

// alternativeGC is the collection interval that is tried as an alternative.
const alternativeGC = time.Minute

// Plan is what to do about all nodes of a cluster, whose settings are shared.
type Plan struct {
	Nodes    []Advice `json:"nodes"`
	Settings Settings `json:"settings"`
	// InForce is the setting that decides about the NAT map now, on the node
	// that needs most.
	InForce string `json:"in_force"`
	// Values to set, in the notation of Helm; none if nothing is to change.
	Values []Value `json:"values"`
	// Memory is what the NAT maps will take on a node, in bytes, and what they
	// take now; of the node where that grows most.
	Memory       uint64   `json:"memory_bytes,omitempty"`
	MemoryNow    uint64   `json:"memory_bytes_now,omitempty"`
	Effects      []string `json:"effects,omitempty"`
	Alternatives []string `json:"alternatives,omitempty"`
	// Impossible says why no setting is enough.
	Impossible string `json:"impossible,omitempty"`
}

// Value is one of Helm's.
type Value struct {
	Path  string `json:"path"` // bpf.natMax
	Value string `json:"value"`
	Flag  string `json:"flag"` // the agent's setting behind it
}

// NewPlan advises on every map and merges the advice: one size for all nodes,
// because Cilium's sizes in entries are the same on all.
func NewPlan(nodes []Node, s Settings) Plan {
	p := Plan{Settings: s, Values: []Value{}}
	asked := s
	var size int
	for range 20 { // more CT entries make more to collect at once; each round adds less
		var worst *Node
		if p.Nodes, size, worst = advise(nodes, asked); worst == nil {
			p.InForce = s.On(memoryOf(nodes), 1).Knob
			return p
		}
		z := s.On(worst.Memory, worst.CPUs)
		p.InForce = z.Knob
		size = max(size, largestNAT(nodes))
		smallest, largestCT := asked.ctSizes(nodes)
		if size <= smallest.CTTCP+smallest.CTAny || asked.CTTCP == maxEntries {
			break
		}
		asked.CTTCP = min(max(size-smallest.CTAny, largestCT), maxEntries)
	}
	if size > maxEntries {
		p.Impossible = fmt.Sprintf("%d entries are needed and Cilium allows %d: open fewer connections on a node, or collect closed ones sooner (conntrackGCInterval)", size, maxEntries)
		size = maxEntries
	}
	p.Values = append(p.Values, Value{"bpf.natMax", strconv.Itoa(size), keyNAT})
	if asked.CTTCP != s.CTTCP {
		p.Values = append(p.Values, Value{"bpf.ctTcpMax", strconv.Itoa(asked.CTTCP), keyCTTCP})
	}
	p.cost(nodes, size)
	p.effects(s)
	p.alternatives(nodes, s, size)
	return p
}

// advise returns the advice on all nodes, the most entries that any needs, and
// which does; nil if none needs another size.
func advise(nodes []Node, s Settings) (all []Advice, size int, worst *Node) {
	for i := range nodes {
		a := Advise(nodes[i], s)
		all = append(all, a)
		if (a.Verdict == Grow || a.Verdict == Tight) && a.Entries > size {
			size, worst = a.Entries, &nodes[i]
		}
	}
	return all, size, worst
}

func memoryOf(nodes []Node) uint64 {
	if len(nodes) == 0 {
		return 0
	}
	return nodes[0].Memory
}

// largestNAT is the size of the largest map there is: one size is set for all
// nodes, and must shrink none.
func largestNAT(nodes []Node) int {
	largest := 0
	for _, n := range nodes {
		largest = max(largest, n.MaxEntries)
	}
	return largest
}

// ctSizes returns the sizes on the node with the smallest CT maps, where Cilium
// would refuse a NAT map that is larger than these, and the largest TCP one.
func (s Settings) ctSizes(nodes []Node) (smallest Sizes, largestTCP int) {
	smallest = Sizes{CTTCP: maxEntries, CTAny: maxEntries}
	for _, n := range nodes {
		z := s.On(n.Memory, n.CPUs)
		if z.CTTCP+z.CTAny < smallest.CTTCP+smallest.CTAny {
			smallest = z
		}
		largestTCP = max(largestTCP, z.CTTCP)
	}
	return smallest, largestTCP
}

// cost adds up the memory of each node's NAT maps, before and after.
func (p *Plan) cost(nodes []Node, size int) {
	before, after := map[string]uint64{}, map[string]uint64{}
	for _, n := range nodes {
		before[n.Name] += n.bytes(n.MaxEntries)
		after[n.Name] += n.bytes(size)
	}
	for name, now := range before {
		if then := after[name]; then > p.Memory || then == p.Memory && now < p.MemoryNow {
			p.Memory, p.MemoryNow = then, now
		}
	}
}

// bytes is the memory of a NAT map of so many entries, with its buckets, whose
// number the kernel rounds up to a power of two.
func (n Node) bytes(entries int) uint64 {
	each := uint64(bytesNAT4)
	if n.IPv6 {
		each = bytesNAT6
	}
	if entries < 1 {
		return 0
	}
	return uint64(entries)*each + bytesBucket<<bits.Len64(uint64(entries-1))
}

func (p *Plan) effects(s Settings) {
	p.Effects = append(p.Effects,
		"Cilium's agents restart, and each creates its NAT map anew, empty: connections that are open then lose their entries once, and some of them break",
	)
	if s.NAT == 0 && s.dynamic() {
		p.Effects = append(p.Effects,
			keyNAT+" goes before "+keyRatio+" for the NAT map; other maps keep their sizes",
			fmt.Sprintf("the neighbour map takes the NAT map's size, too, %d bytes an entry (IPv6 %d), unless bpf.neighMax is set", bytesNeigh4, bytesNeigh6))
	}
	if s.Distributed {
		p.Effects = append(p.Effects, "Cilium rounds the size up to a multiple of the node's possible CPUs, for the distributed LRU")
	}
	for _, v := range p.Values {
		if v.Path == "bpf.ctTcpMax" {
			p.Effects = append(p.Effects, "bpf.ctTcpMax must grow because Cilium refuses a NAT map larger than its CT maps together; they are created anew, too")
		}
	}
}

// alternatives looks for a smaller size with closed connections collected
// sooner.
func (p *Plan) alternatives(nodes []Node, s Settings, size int) {
	if s.GCInterval > 0 && s.GCInterval <= alternativeGC {
		return
	}
	sooner := s
	sooner.GCInterval = alternativeGC
	_, other, worst := advise(nodes, sooner)
	switch {
	case worst == nil:
		return // those that evict need some size
	case other <= size*3/4:
		p.Alternatives = append(p.Alternatives, fmt.Sprintf(
			"conntrackGCInterval: %v would need bpf.natMax: %d only; each collection reads all CT entries of the node", alternativeGC, other))
	}
	if s.GCInterval == 0 {
		p.Alternatives = append(p.Alternatives,
			"conntrackGCMaxInterval: 5m keeps quiet nights from stretching the interval up to 12 h, of which a busy morning's entries would have to wait for the end")
	}
}
