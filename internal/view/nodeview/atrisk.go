// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// AtRisk shows which connections break by their next packet.
type AtRisk struct {
	listing
	namespace string
	nodes     []string
	limit     int
}

// Register makes flags of the options.
func (o *AtRisk) Register(cmd *cobra.Command) {
	o.register(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "only connections of this namespace's pods")
	f.StringSliceVar(&o.nodes, "node-name", nil, "only this node")
	f.IntVar(&o.limit, "limit", 100, "list so many; 0: all")
}

// riskOut is a connection in JSON and YAML.
type riskOut struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster,omitempty"`
	nodestatus.Risk
}

// Run asks src and shows those at risk, those for longest first.
func (o *AtRisk) Run(ctx context.Context, src fleet.Source, s *Screen) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.limit < 0 {
		return usage.Errorf("--limit %d is negative", o.limit)
	}
	found, err := src.AtRisk(ctx)
	if err != nil {
		return err
	}
	if len(o.nodes) > 0 {
		found.Nodes = slices.DeleteFunc(found.Nodes, func(n *nodestatus.AtRisk) bool { return !slices.Contains(o.nodes, n.Node) })
		found.Silent = slices.DeleteFunc(found.Silent, func(n fleet.Silence) bool { return !slices.Contains(o.nodes, n.Node) })
		if len(found.Nodes)+len(found.Silent) == 0 {
			return fmt.Errorf("no agent runs on node %s", strings.Join(o.nodes, ", "))
		}
	}
	all, more, unchecked := []riskOut{}, 0, 0
	for _, n := range found.Nodes {
		more += n.More
		unchecked += n.Unchecked
		for _, r := range n.Connections {
			if o.namespace == "" || r.Source.Namespace == o.namespace {
				all = append(all, riskOut{n.Node, n.Cluster, r})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b riskOut) int { return a.Since.Compare(b.Since) })
	if o.limit > 0 && len(all) > o.limit {
		more += len(all) - o.limit
		all = all[:o.limit]
	}
	if err := sortThings(&o.listing, all, func(r riskOut) any { return r }); err != nil {
		return err
	}
	if err := o.write(s.hearing(found.Silent, len(found.Nodes)), all, more, unchecked, found.Silent); err != nil {
		return err
	}
	return s.tell(found.Silent, len(found.Nodes))
}

func (o *AtRisk) write(s *Screen, all []riskOut, more, unchecked int, silent []fleet.Silence) error {
	out := list{whole: struct {
		Connections []riskOut       `json:"connections"`
		More        int             `json:"more"`
		Unchecked   int             `json:"unchecked"`
		Silent      []fleet.Silence `json:"silent"`
	}{all, more, unchecked, append([]fleet.Silence{}, silent...)}, table: func() *render.Table { return o.table(s, all) }}
	for _, r := range all {
		out.things, out.names = append(out.things, r), append(out.names, "connection/"+r.Source.Address)
	}
	if err := o.show(s, out); err != nil || !o.isTable() {
		return err
	}
	if more > 0 {
		fmt.Fprintf(s.Err, "%d more\n", more)
	}
	if unchecked > 0 {
		fmt.Fprintf(s.Err, "%d more lost an entry and were not looked up: most have closed since\n", unchecked)
	}
	return nil
}

func (o *AtRisk) table(s *Screen, all []riskOut) *render.Table {
	t := &render.Table{Columns: []render.Column{
		{Title: "NODE", Name: true}, {Title: "POD", Name: true}, {Title: "DESTINATION", Name: true}, {Title: "PROTOCOL"},
		{Title: "GONE"}, {Title: "FOR", Right: true}, {Title: "BREAKS-BY"},
	}, Width: s.Width}
	if o.output == outWide {
		t.Width = 0
		t.Columns = append(t.Columns, render.Column{Title: "SOURCE"}, render.Column{Title: "NAT"}, render.Column{Title: "GUARDED"})
	}
	for _, r := range all {
		pod := podName(r.Source)
		if r.HostNetwork && r.Source.Pod == "" {
			pod += " (node)"
		}
		cells := []string{r.Node, pod, destinationName(r.Destination), r.Protocol, r.Gone, time.Since(r.Since).Round(time.Second).String(), r.Breaks}
		if o.output == outWide {
			cells = append(cells, r.Source.Address, r.NAT, fmt.Sprint(r.Guarded))
		}
		t.Add(cells...)
	}
	return t
}

// podName is a pod's name, else its address.
func podName(p nodestatus.RiskPeer) string {
	if p.Pod == "" {
		return p.Address
	}
	return p.Namespace + "/" + p.Pod
}

// destinationName has a DNS name beside the address.
func destinationName(p nodestatus.RiskPeer) string {
	if len(p.Names) == 0 {
		return p.Address
	}
	return p.Address + " (" + p.Names[0] + ")"
}
