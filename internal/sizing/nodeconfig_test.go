// SPDX-License-Identifier: Apache-2.0

package sizing_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/renat-project/renat/internal/sizing"
)

// TestNodeConfigs advises where CiliumNodeConfigs go before the ConfigMap, follows
// the advice, and has Cilium start with it: the size is set where it is in force.
func TestNodeConfigs(t *testing.T) {
	const ratio, nat, tcp = "bpf-map-dynamic-size-ratio", "bpf-nat-global-max", "bpf-ct-global-tcp-max"
	type data = map[string]string
	on := func(name string, d data, nodes ...string) sizing.NodeConfig {
		return sizing.NodeConfig{Name: name, Data: d, Selects: func(node string) bool { return slices.Contains(nodes, node) }}
	}
	for name, c := range map[string]struct {
		configs []sizing.NodeConfig
		busy    []string            // nodes whose map evicts
		want    map[string][]string // the nodes that are advised on by place; "" is the ConfigMap
		set     []string            // where something is to be set
		err     bool
	}{
		"none":                      {busy: []string{"a"}, want: map[string][]string{"": {"a", "b"}}, set: []string{""}},
		"one, of another setting":   {configs: []sizing.NodeConfig{on("x", data{"debug": "true"}, "a")}, busy: []string{"a"}, want: map[string][]string{"": {"a", "b"}}, set: []string{""}},
		"one that selects nobody":   {configs: []sizing.NodeConfig{on("x", data{nat: "131072"})}, busy: []string{"a"}, want: map[string][]string{"": {"a", "b"}}, set: []string{""}},
		"one, and its node evicts":  {configs: []sizing.NodeConfig{on("x", data{nat: "131072"}, "a")}, busy: []string{"a"}, want: map[string][]string{"": {"b"}, "x": {"a"}}, set: []string{"x"}},
		"one, and the others evict": {configs: []sizing.NodeConfig{on("x", data{nat: "131072"}, "a")}, busy: []string{"b"}, want: map[string][]string{"": {"b"}, "x": {"a"}}, set: []string{""}},
		"the ConfigMap's NAT size would exceed its CT size": {configs: []sizing.NodeConfig{on("x", data{tcp: "131072"}, "a")}, busy: []string{"b"}, want: map[string][]string{"": {"b"}, "x": {"a"}}, set: []string{"", "x"}},
		"both evict": {configs: []sizing.NodeConfig{on("x", data{nat: "131072", tcp: "131072"}, "a")}, busy: []string{"a", "b"}, want: map[string][]string{"": {"b"}, "x": {"a"}}, set: []string{"", "x"}},
		"two, the last name goes first": {configs: []sizing.NodeConfig{on("y", data{nat: "140000"}, "a"), on("x", data{nat: "131072"}, "a", "b")}, busy: []string{"a", "b"},
			want: map[string][]string{"x": {"b"}, "y": {"a"}}, set: []string{"x", "y"}},
		"not understood": {configs: []sizing.NodeConfig{on("x", data{nat: "lots"}, "a")}, err: true},
	} {
		t.Run(name, func(t *testing.T) {
			base := data{ratio: "0.0025"}
			var nodes []sizing.Node
			for _, n := range []string{"a", "b"} {
				nodes = append(nodes, sizing.Node{
					Name: n, Map: "cilium_snat_v4_external", MaxEntries: 131072, CTTCP: 131072, CTAny: 65536, CPUs: 8, Memory: 8 << 30, Cilium: "1.18.2",
					Measured: sizing.Measured{Inserts: 300, Peak: 1000, Live: 60000, Evicting: slices.Contains(c.busy, n)},
				})
			}
			p, err := sizing.NewPlanWith(nodes, base, c.configs)
			if (err != nil) != c.err {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			plans := map[string]sizing.Plan{"": p}
			for _, of := range p.NodeConfigs {
				plans[of.NodeConfig] = of.Plan
			}
			var set []string
			for place, plan := range plans {
				var names []string
				for _, a := range plan.Nodes {
					names = append(names, a.Node)
				}
				if !slices.Equal(names, c.want[place]) {
					t.Errorf("in %q: nodes %v", place, names)
				}
				if len(plan.Values) > 0 {
					set = append(set, place)
				}
			}
			if slices.Sort(set); !slices.Equal(set, c.set) {
				t.Errorf("to be set in %q", set)
			}
			for _, n := range nodes {
				with := maps.Clone(base)
				for _, v := range p.Values {
					with[v.Flag] = v.Value
				}
				for _, name := range []string{"x", "y"} {
					for _, o := range c.configs {
						if o.Name == name && o.Selects(n.Name) {
							maps.Copy(with, o.Data)
							for _, v := range plans[name].Values {
								with[v.Flag] = v.Value
							}
						}
					}
				}
				z, err := cilium{minor: 18, cpus: n.CPUs, memory: n.Memory}.start(with)
				if err != nil {
					t.Errorf("node %s does not start with %v: %v", n.Name, with, err)
				}
				for _, plan := range plans {
					for _, a := range plan.Nodes {
						if a.Node == n.Name && a.Needs() && z.nat < a.Entries {
							t.Errorf("node %s needs %d entries and gets %d", n.Name, a.Entries, z.nat)
						}
					}
				}
			}
		})
	}
}
