// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
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
	Nodes []Advice `json:"nodes"`
	// Unmeasured are nodes that the advice knows nothing of.
	Unmeasured []string `json:"unmeasured,omitempty"`
	// Notes are of what Settings do not say: why they are not known, and what goes
	// before them on some nodes.
	Notes []string `json:"notes,omitempty"`
	// Settings of Cilium; nil: not known.
	Settings *Settings `json:"settings,omitempty"`
	// InForce is the setting that decides about the NAT map, on the node that
	// needs most; "" if it is not known, or not in force there.
	InForce string `json:"in_force,omitempty"`
	// NotInForce says where the maps have other sizes than those that are set.
	NotInForce []string `json:"not_in_force,omitempty"`
	// Values to set, in the notation of Helm, all of them together; none if
	// nothing is to change.
	Values []Value `json:"values"`
	// NodeConfigs are the plans of those nodes for which a CiliumNodeConfig sets sizes,
	// which are not among Nodes, with what is to be set in it.
	NodeConfigs []NodePlan `json:"node_configs,omitempty"`
	// Restart names the nodes where Cilium's agents are to be restarted and
	// nothing needs to be set.
	Restart []string `json:"restart,omitempty"`
	// Memory is what the NAT maps will take on a node, in bytes, and what they
	// take now; of the node where that grows most.
	Memory       uint64   `json:"memory_bytes,omitempty"`
	MemoryNow    uint64   `json:"memory_bytes_now,omitempty"`
	Effects      []string `json:"effects,omitempty"`
	Alternatives []string `json:"alternatives,omitempty"`
	// Refused says why Cilium's agents do not start with the settings there are.
	Refused string `json:"refused,omitempty"`
	// Impossible says why no setting is enough.
	Impossible string `json:"impossible,omitempty"`
}

// Value is one of Helm's.
type Value struct {
	Path  string `json:"path"` // bpf.natMax
	Value string `json:"value"`
	Flag  string `json:"flag"` // the agent's setting behind it
}

// Written are values as Helm's files have them, with what comes between two.
func Written(values []Value, between string) string {
	var all []string
	for _, v := range values {
		all = append(all, v.Path+": "+v.Value)
	}
	return strings.Join(all, between)
}

// NewPlan advises on every map and merges the advice: one size for all nodes,
// because Cilium's sizes in entries are the same on all. Settings that are not
// known are nil; the sizes of the nodes' maps then count alone.
func NewPlan(nodes []Node, s *Settings) Plan { return planFor(nodes, nodes, s) }

// planFor does so for nodes whose settings are, and will be, their own.
func planFor(now, nodes []Node, s *Settings) Plan {
	p := Plan{Settings: s, Values: []Value{}}
	c := cluster{}
	if s != nil {
		c = cluster{Settings: *s, known: true}
		for i := range now {
			p.Refused = cmp.Or(p.Refused, c.of(now[i]).refused())
		}
		if p.Refused = cmp.Or(p.Refused, s.refused()); p.Refused != "" {
			c = cluster{} // they are in force nowhere
		}
	}
	var ch change
	p.Nodes, ch, p.Impossible = c.solve(nodes)
	p.compare(&c, now)
	if p.Refused != "" && !c.known {
		return p // nothing is taken before that is mended
	}
	p.Values = ch.values()
	for _, a := range p.Nodes {
		if a.Verdict == Restart && ch.nat == 0 && !slices.Contains(p.Restart, a.Node) {
			p.Restart = append(p.Restart, a.Node)
		}
	}
	if ch.nat == 0 && len(p.Restart) == 0 {
		return p
	}
	p.cost(nodes, &c, ch)
	p.effects(&c, ch)
	if ch.nat > 0 {
		p.alternatives(nodes, c, ch)
	}
	return p
}

// values are ch in Helm's notation.
func (ch change) values() []Value {
	all := []Value{}
	for _, v := range []struct {
		path, flag string
		entries    int
	}{{"bpf.natMax", keyNAT, ch.nat}, {"bpf.ctTcpMax", keyCTTCP, ch.ctTCP}, {"bpf.ctAnyMax", keyCTAny, ch.ctAny}} {
		if v.entries > 0 {
			all = append(all, Value{v.path, strconv.Itoa(v.entries), v.flag})
		}
	}
	return all
}

// compare says what of the settings is in force, and where it is not.
func (p *Plan) compare(c *cluster, nodes []Node) {
	type sizes struct {
		knob      string
		set, have int
	}
	differ := map[sizes][]string{}
	var order []sizes
	most := -1
	for i, n := range nodes {
		set, ok := c.set(n)
		if !ok {
			continue
		}
		if why := c.refuses(n); why != "" {
			p.Refused = cmp.Or(p.Refused, why)
			continue // nor is it in force
		}
		if !c.inForce(n) {
			d := sizes{set.Knob, set.NAT, n.MaxEntries}
			if differ[d] == nil {
				order = append(order, d)
			}
			if !slices.Contains(differ[d], n.Name) {
				differ[d] = append(differ[d], n.Name)
			}
		} else if need := p.Nodes[i].Entries; need > most {
			most, p.InForce = need, set.Knob
		}
	}
	for _, d := range order {
		why := "restart Cilium's agents there, which a change of the ConfigMap alone does not; if it stays so, a CiliumNodeConfig goes before it there"
		if d.set < d.have {
			why = "a CiliumNodeConfig goes before it there, the settings are another cluster's, or Cilium's agents were not restarted since, and would make the map smaller"
		}
		p.NotInForce = append(p.NotInForce, fmt.Sprintf("%s gives %s a NAT map of %d entries, and it has %d: %s", d.knob, Some(differ[d]), d.set, d.have, why))
	}
}

// Some are a few of the names, and how many others there are.
func Some(names []string) string {
	const shown = 3
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// cost adds up the memory of each node's NAT maps, before and after.
func (p *Plan) cost(nodes []Node, c *cluster, ch change) {
	before, after := map[string]uint64{}, map[string]uint64{}
	for _, n := range nodes {
		before[n.Name] += n.bytes(n.MaxEntries)
		_, most := c.after(n, ch)
		after[n.Name] += n.bytes(most.NAT)
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

func (p *Plan) effects(c *cluster, ch change) {
	p.Effects = append(p.Effects,
		"Cilium's agents restart, and each creates its NAT map anew, empty: connections that are open then lose their entries once, and some of them break",
	)
	if ch.nat > 0 && c.NAT == 0 && c.dynamic() {
		p.Effects = append(p.Effects,
			keyNAT+" goes before "+keyRatio+" for the NAT map; other maps keep their sizes",
			fmt.Sprintf("the neighbour map takes the NAT map's size, too, %d bytes an entry (IPv6 %d), unless bpf.neighMax is set", bytesNeigh4, bytesNeigh6))
	}
	if ch.ctAny > 0 {
		p.Effects = append(p.Effects, "bpf.ctTcpMax and bpf.ctAnyMax must be given, too, because before 1.19 Cilium makes a map of a distributed LRU anew at each start unless the size it asks for is a multiple of the node's possible CPUs, and rounds no size itself (1.18 those by "+keyRatio+")")
	} else if ch.ctTCP > 0 {
		p.Effects = append(p.Effects, "bpf.ctTcpMax must grow because Cilium refuses a NAT map larger than its CT maps together; they are created anew, too")
	}
}

// alternatives looks for a smaller size with closed connections collected
// sooner.
func (p *Plan) alternatives(nodes []Node, c cluster, ch change) {
	set := c.GCInterval
	if set > 0 && set <= alternativeGC {
		return
	}
	c.GCInterval = alternativeGC
	nodes = slices.Clone(nodes)
	for i := range nodes {
		own := c.of(nodes[i])
		own.GCInterval = alternativeGC
		nodes[i].own = &own
	}
	_, other, why := c.solve(nodes)
	if other.nat > 0 && why == "" && other.nat <= ch.nat*3/4 {
		p.Alternatives = append(p.Alternatives, fmt.Sprintf(
			"conntrackGCInterval: %v would need %s only; each collection reads all CT entries of the node", alternativeGC, Written(other.values(), ", ")))
	}
	if set == 0 {
		p.Alternatives = append(p.Alternatives,
			"conntrackGCMaxInterval: 5m keeps quiet nights from stretching the interval up to 12 h, of which a busy morning's entries would have to wait for the end")
	}
}
