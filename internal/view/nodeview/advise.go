// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
)

// Advise recommends a size of the NAT maps. It changes nothing.
type Advise struct {
	output  string
	explain bool
}

// Register makes flags of the options.
func (o *Advise) Register(cmd *cobra.Command) {
	registerOutput(cmd, &o.output, "a table", outputs...)
	cmd.Flags().BoolVar(&o.explain, "explain", false, "show the arithmetic of each node")
}

// Run asks src and prints what advise makes of the answers; notes say what it does
// not know of Cilium's settings.
func (o *Advise) Run(ctx context.Context, src fleet.Source, s *Screen, advise func([]sizing.Node) (sizing.Plan, error), notes []string) error {
	if err := checkOutput(o.output, outputs...); err != nil {
		return err
	}
	nodes, err := src.Nodes(ctx)
	if err != nil {
		return err
	}
	if nodes.Answered() == 0 && len(nodes.Silent) > 0 {
		return s.tell(nodes.Silent, 0) // nothing was measured, so nothing is advised
	}
	evicting := map[string]bool{}
	for _, n := range nodes.Statuses {
		for i := range n.Maps {
			if n.Maps[i].Evicts() {
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
	var others []string
	for _, n := range nodes.Silent {
		others = append(others, n.Node)
	}
	for _, n := range nodes.Statuses {
		of := n.Measured(func(m string) float64 { return live[[2]string{n.Node, m}] })
		if len(of) == 0 {
			others = append(others, n.Node)
		}
		measured = append(measured, of...)
	}
	if len(measured) == 0 {
		return fmt.Errorf("no agent that answered sees a NAT map, so nothing was measured (%s)", strings.Join(others, ", "))
	}
	plan, err := advise(measured)
	if err != nil {
		return err
	}
	plan.Unmeasured, plan.Notes = others, notes
	if err := o.write(&plan, s); err != nil {
		return err
	}
	return s.tell(nodes.Silent, nodes.Answered())
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

func (o *Advise) write(p *sizing.Plan, s *Screen) error {
	switch o.output {
	case outJSON, outYAML:
		return encode(s.Out, p, o.output)
	case outName:
		var names []string
		for _, a := range allNodes(p) {
			if a.Needs() {
				names = append(names, "node/"+a.Node)
			}
		}
		return s.lines(names)
	}
	t := render.Table{Columns: []render.Column{
		{Title: "NODE", Name: true}, {Title: "MAP", Name: true}, {Title: "SIZE", Right: true}, {Title: "VERDICT"}, {Title: "ENOUGH", Right: true}, {Title: "WHY"},
	}, Width: s.Width}
	if o.output == outWide {
		t.Width = 0
	}
	all := allNodes(p)
	for _, a := range all {
		enough := "?"
		if a.Entries > 0 {
			enough = strconv.Itoa(a.Entries)
		}
		t.Add(a.Node, shortMap(a.Map), strconv.Itoa(a.Current), string(a.Verdict), enough, a.Reasons[0])
	}
	t.Paint = func(row, column int, text string) string {
		if column == 3 && (all[row].Verdict == sizing.Grow || all[row].Verdict == sizing.Restart) {
			return s.paint(color.FgRed, text)
		}
		return text
	}
	if err := t.Flush(s.Out); err != nil {
		return err
	}
	_, err := fmt.Fprint(s.Out, planText(p, o.explain, ""))
	for i := 0; err == nil && i < len(p.NodeConfigs); i++ {
		c := &p.NodeConfigs[i]
		var names []string
		for _, a := range c.Nodes {
			names = append(names, a.Node)
		}
		slices.Sort(names)
		_, err = fmt.Fprintf(s.Out, "\nOn %s CiliumNodeConfig %s goes before the ConfigMap.\n%s", sizing.Some(slices.Compact(names)), render.Clean(c.NodeConfig), planText(&c.Plan, o.explain, c.NodeConfig))
	}
	return err
}

// allNodes are those with a CiliumNodeConfig, too.
func allNodes(p *sizing.Plan) []sizing.Advice {
	all := slices.Clone(p.Nodes)
	for i := range p.NodeConfigs {
		all = append(all, p.NodeConfigs[i].Nodes...)
	}
	return all
}

// planText is what follows the table; of a CiliumNodeConfig, what is to be done in it.
func planText(p *sizing.Plan, explain bool, nodeConfig string) string {
	var b strings.Builder
	b.WriteByte('\n')
	list := func(title string, lines []string) {
		for _, line := range lines {
			fmt.Fprintf(&b, "%s: %s.\n", title, render.Clean(line))
		}
	}
	if len(p.Unmeasured) > 0 {
		list("Incomplete", []string{"nothing is known of " + sizing.Some(p.Unmeasured) + ", which may need more"})
	}
	list("Settings", p.Notes)
	list("In force", nonEmpty(p.InForce))
	list("Not in force", p.NotInForce)
	if p.Refused != "" {
		list("Refused", []string{p.Refused + ": Cilium's agents do not start with that"})
	}
	switch {
	case len(p.Values) > 0 && nodeConfig != "":
		fmt.Fprintf(&b, "\nTo be set together in CiliumNodeConfig %s:\n\n  spec:\n    defaults:\n", render.Clean(nodeConfig))
		for _, v := range p.Values {
			fmt.Fprintf(&b, "      %s: %q\n", v.Flag, v.Value)
		}
	case len(p.Nodes) == 0: // all have a CiliumNodeConfig
	case len(p.Values) > 0:
		b.WriteString("\nHelm values of Cilium that stop it, to be set together:\n\n")
		b.WriteString(helm(p.Values))
	case len(p.Restart) > 0:
		fmt.Fprintf(&b, "\nNo setting needs to change. Restart Cilium's agents on: %s.\n", render.Clean(strings.Join(p.Restart, ", ")))
	case p.Refused == "" && p.Impossible == "":
		b.WriteString("No setting needs to change.\n")
	}
	if p.Memory > 0 {
		fmt.Fprintf(&b, "\nMemory: %.0f MiB a node for its NAT maps, %.0f MiB now.\n", mib(p.Memory), mib(p.MemoryNow))
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
