// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// NodeConfig is a CiliumNodeConfig: what it sets goes before the ConfigMap on the
// nodes that it selects, and before what others set whose names sort before its own
// (pkg/option/resolver).
type NodeConfig struct {
	Name    string            // namespace/name
	Data    map[string]string // its spec.defaults
	Selects func(node string) bool
}

// NodePlan is the plan of the nodes for which a CiliumNodeConfig sets sizes; of
// several, it is the one that goes before the others.
type NodePlan struct {
	NodeConfig string `json:"node_config"` // namespace/name
	Plan
}

// NewPlanWith advises as NewPlan does, under the ConfigMap's data and those
// CiliumNodeConfigs. Values of a NodePlan are to be set in its CiliumNodeConfig, where
// nothing goes before them, and hold when those of the ConfigMap are set, too. It
// fails where a setting cannot be understood.
func NewPlanWith(nodes []Node, data map[string]string, configs []NodeConfig) (Plan, error) {
	base, err := ParseSettings(data)
	if err != nil {
		return Plan{}, err
	}
	configs = slices.DeleteFunc(slices.Clone(configs), func(c NodeConfig) bool { return len(Known(c.Data)) == 0 })
	slices.SortFunc(configs, func(a, b NodeConfig) int { return strings.Compare(a.Name, b.Name) })
	first := func(n Node) int { // the one that goes before all others; -1: none
		for i, c := range slices.Backward(configs) {
			if c.Selects(n.Name) {
				return i
			}
		}
		return -1
	}
	groups := map[int][]Node{}
	for _, n := range nodes {
		groups[first(n)] = append(groups[first(n)], n)
	}
	plan := NewPlan(groups[-1], &base)
	changed, then := with(data, plan.Values), slices.Clone(configs)
	for i, c := range configs { // those that go before others come after them
		if len(groups[i]) == 0 {
			continue
		}
		before, err := under(groups[i], data, configs)
		if err != nil {
			return Plan{}, err
		}
		after, err := under(groups[i], changed, then)
		if err != nil {
			return Plan{}, err
		}
		p := planFor(before, after, after[0].own)
		p.Settings = before[0].own
		then[i].Data = with(c.Data, p.Values)
		plan.NodeConfigs = append(plan.NodeConfigs, NodePlan{NodeConfig: c.Name, Plan: p})
	}
	return plan, nil
}

// with is a copy of settings with values set.
func with(data map[string]string, values []Value) map[string]string {
	all := map[string]string{}
	maps.Copy(all, data)
	for _, v := range values {
		all[v.Flag] = v.Value
	}
	return all
}

// under gives each node the settings that its agent starts with.
func under(nodes []Node, data map[string]string, configs []NodeConfig) ([]Node, error) {
	nodes = slices.Clone(nodes)
	for i := range nodes {
		all := with(data, nil)
		for _, c := range configs {
			if c.Selects(nodes[i].Name) {
				maps.Copy(all, c.Data)
			}
		}
		own, err := ParseSettings(all)
		if err != nil {
			return nil, fmt.Errorf("with the CiliumNodeConfigs of node %s: %w", nodes[i].Name, err)
		}
		nodes[i].own = &own
	}
	return nodes, nil
}
