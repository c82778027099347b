// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/sizing"
)

// Advise recommends a size of the NAT maps. It changes nothing.
type Advise struct {
	output  string
	explain bool
}

// Register makes flags of the options.
func (o *Advise) Register(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "", outputHelp)
	f.BoolVar(&o.explain, "explain", false, "show the arithmetic of each node")
}

// Run asks src and advises under Cilium's settings; assumed says why they are
// not the cluster's, if so.
func (o *Advise) Run(ctx context.Context, src fleet.Source, s *Screen, settings sizing.Settings, assumed string) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	nodes, err := src.Nodes(ctx)
	if err != nil {
		return err
	}
	evicting := map[string]bool{}
	for _, n := range nodes.Statuses {
		for i := range n.Maps {
			if evicts(&n.Maps[i]) {
				evicting[n.Node] = true
			}
		}
	}
	// How much of a map belongs to open connections is worth a look only where
	// the map is full. Where nobody knows, the advice says so.
	live := map[[2]string]float64{}
	if len(evicting) > 0 {
		if tops, err := src.Tops(ctx, func(node string) bool { return evicting[node] }); err == nil {
			live = liveEntries(tops.Tops)
		}
	}
	var measured []sizing.Node
	for _, n := range nodes.Statuses {
		measured = append(measured, measurements(n, live)...)
	}
	plan := sizing.NewPlan(measured, settings)
	if err := o.write(&plan, s, assumed); err != nil {
		return err
	}
	return s.tell(nodes.Silent, len(nodes.Statuses))
}

func evicts(m *nodestatus.Map) bool {
	return !m.CT && (m.Evictions > 0 || m.Peaks != nil && m.Peaks.Evictions > 0)
}

// liveEntries are the entries of open connections by node and map.
func liveEntries(tops []*nodestatus.Top) map[[2]string]float64 {
	live := map[[2]string]float64{}
	for _, t := range tops {
		for _, m := range t.Maps {
			if m.Live != nil {
				live[[2]string{t.Node, m.Name}] = *m.Live * float64(m.Entries)
			}
		}
	}
	return live
}

// measurements are those of a node's NAT maps.
func measurements(n *nodestatus.Status, live map[[2]string]float64) (all []sizing.Node) {
	for i := range n.Maps {
		m := &n.Maps[i]
		if m.CT {
			continue
		}
		out := sizing.Node{
			Name: n.Node, Map: m.Name, IPv6: strings.Contains(m.Name, "_v6_"), MaxEntries: int(m.MaxEntries), Distributed: m.Distributed,
			CPUs: n.Machine.CPUs, Memory: n.Machine.MemoryBytes, Cilium: n.Hubble.Version, Incidents: n.Incidents.Total,
			Measured: sizing.Measured{
				Live: live[[2]string{n.Node, m.Name}], Evicting: evicts(m), Gap: m.LongestGap,
				Inserts: max(m.LastMinute.Inserts, m.LastTenMinutes.Inserts),
			},
		}
		if m.Entries != nil {
			out.Peak = float64(*m.Entries)
		}
		if p := m.Peaks; p != nil {
			out.Peak, out.Inserts = max(out.Peak, float64(p.Entries)), max(out.Inserts, p.Inserts)
		}
		if m.Inserts > 0 {
			out.Collisions = float64(m.Collisions) / float64(m.Inserts)
		}
		all = append(all, out)
	}
	return all
}

func (o *Advise) write(p *sizing.Plan, s *Screen, assumed string) error {
	switch o.output {
	case outJSON, outYAML:
		return encode(s.Out, p, o.output)
	case outName:
		for _, a := range p.Nodes {
			if a.Verdict == sizing.Grow || a.Verdict == sizing.Tight {
				if _, err := fmt.Fprintln(s.Out, "node/"+a.Node); err != nil {
					return err
				}
			}
		}
		return nil
	}
	t := table{columns: []column{
		{title: "NODE", most: 28}, {title: "MAP", most: 10}, {title: "SIZE", right: true}, {title: "VERDICT"}, {title: "ENOUGH", right: true}, {title: "WHY", most: 50},
	}}
	if o.output == outWide {
		t.columns[0].most, t.columns[5].most = 0, 0
	}
	for _, a := range p.Nodes {
		enough := "?"
		if a.Entries > 0 {
			enough = strconv.Itoa(a.Entries)
		}
		t.add(a.Node, shortMap(a.Map), strconv.Itoa(a.Current), string(a.Verdict), enough, a.Reasons[0])
	}
	t.paint = func(row, column int, text string) string {
		if column == 3 && p.Nodes[row].Verdict == sizing.Grow {
			return s.paint(color.FgRed, text)
		}
		return text
	}
	if err := t.writeTo(s.Out); err != nil {
		return err
	}
	_, err := fmt.Fprint(s.Out, planText(p, o.explain, assumed))
	return err
}

// planText is what follows the table.
func planText(p *sizing.Plan, explain bool, assumed string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nIn force: %s\n", p.InForce)
	if assumed != "" {
		fmt.Fprintf(&b, "  %s\n", assumed)
	}
	if len(p.Values) == 0 {
		b.WriteString("No setting needs to change.\n")
	} else {
		b.WriteString("\nHelm values of Cilium that stop it:\n\n")
		b.WriteString(helm(p.Values))
		fmt.Fprintf(&b, "\nMemory: %.0f MiB a node for its NAT maps, %.0f MiB now.\n", mib(p.Memory), mib(p.MemoryNow))
	}
	list := func(title string, lines []string) {
		for _, line := range lines {
			fmt.Fprintf(&b, "%s: %s.\n", title, line)
		}
	}
	list("Not enough", nonEmpty(p.Impossible))
	list("Effect", p.Effects)
	list("Or", p.Alternatives)
	if !explain {
		return b.String()
	}
	for _, a := range p.Nodes {
		fmt.Fprintf(&b, "\n%s, %s: %s\n", render.Clean(a.Node), shortMap(a.Map), a.Verdict)
		for _, step := range a.Steps {
			fmt.Fprintf(&b, "    %s\n", step)
		}
		for _, reason := range a.Reasons {
			fmt.Fprintf(&b, "  - %s\n", render.Clean(reason))
		}
	}
	return b.String()
}

// helm writes values whose paths have one dot as YAML.
func helm(values []sizing.Value) string {
	var b strings.Builder
	last := ""
	for _, v := range values {
		section, name, _ := strings.Cut(v.Path, ".")
		if section != last {
			fmt.Fprintf(&b, "  %s:\n", section)
			last = section
		}
		fmt.Fprintf(&b, "    %s: %s  # %s\n", name, v.Value, v.Flag)
	}
	return b.String()
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
