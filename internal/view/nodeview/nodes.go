// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/nodestatus"
)

// Nodes shows how each node and its NAT maps are.
type Nodes struct {
	output string
	watch  bool
	every  time.Duration
	failOn string
}

// FoundError says that nodes are as bad as --fail-on names.
type FoundError struct {
	State nodestatus.State
	Nodes int
}

// Error counts them.
func (e *FoundError) Error() string {
	return fmt.Sprintf("nodes that are %s, or worse: %d", e.State, e.Nodes)
}

// Register makes flags of the options.
func (o *Nodes) Register(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "", outputHelp)
	f.BoolVarP(&o.watch, "watch", "w", false, "show it again and again")
	f.DurationVar(&o.every, "every", 2*time.Second, "time between two looks of --watch")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 3 if a node is evicting or breaking, or with breaking: only if one is that")
}

// Run asks src and shows it.
func (o *Nodes) Run(ctx context.Context, src fleet.Source, s *Screen) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.failOn != "" && o.failOn != string(nodestatus.Evicting) && o.failOn != string(nodestatus.Breaking) {
		return UsageError{fmt.Errorf("--fail-on %q is not one of evicting, breaking", o.failOn)}
	}
	if o.every < 100*time.Millisecond {
		return UsageError{fmt.Errorf("--every %v is less than 100ms", o.every)}
	}
	for {
		err := o.look(ctx, src, s)
		if !o.watch || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // the way to end it
		case <-time.After(o.every):
		}
	}
}

// look shows it once.
func (o *Nodes) look(ctx context.Context, src fleet.Source, s *Screen) error {
	nodes, err := src.Nodes(ctx)
	if o.watch && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(nodes.Statuses, func(a, b *nodestatus.Status) int {
		return -cmp.Compare(severity(a.State()), severity(b.State()))
	})
	var page bytes.Buffer
	drawn := Screen{Out: &page, Err: &page, Colored: s.Colored, Terminal: s.Terminal}
	inPlace := o.watch && s.Terminal
	if !inPlace {
		drawn.Err = s.Err
	}
	if err := o.write(nodes, &drawn); err != nil {
		return err
	}
	silent := drawn.tell(nodes.Silent, len(nodes.Statuses))
	text := page.String()
	if inPlace {
		// Home, each line cleared to its end, then the rest of the screen.
		text = "\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J"
		silent = nil // it may come back
	}
	if _, err := fmt.Fprint(s.Out, text); err != nil {
		return err
	}
	if silent != nil {
		return silent
	}
	return o.judge(nodes)
}

// judge does what --fail-on asks for.
func (o *Nodes) judge(nodes fleet.Nodes) error {
	if o.failOn == "" {
		return nil
	}
	found := FoundError{State: nodestatus.State(o.failOn)}
	for _, n := range nodes.Statuses {
		if severity(n.State()) >= severity(found.State) {
			found.Nodes++
		}
	}
	if found.Nodes == 0 {
		return nil
	}
	return &found
}

func severity(s nodestatus.State) int {
	return slices.Index([]nodestatus.State{nodestatus.OK, nodestatus.Evicting, nodestatus.Breaking}, s)
}

// nodeOut is a node in JSON and YAML.
type nodeOut struct {
	State nodestatus.State `json:"state"`
	Ready bool             `json:"ready"`
	*nodestatus.Status
}

func (o *Nodes) write(nodes fleet.Nodes, s *Screen) error {
	switch o.output {
	case outJSON, outYAML:
		out := struct {
			Nodes  []nodeOut       `json:"nodes"`
			Silent []fleet.Silence `json:"silent"`
		}{[]nodeOut{}, append([]fleet.Silence{}, nodes.Silent...)}
		for _, n := range nodes.Statuses {
			out.Nodes = append(out.Nodes, nodeOut{n.State(), n.Ready(), n})
		}
		return encode(s.Out, out, o.output)
	case outName:
		for _, n := range nodes.Statuses {
			if _, err := fmt.Fprintln(s.Out, "node/"+n.Node); err != nil {
				return err
			}
		}
		return nil
	}
	return o.table(nodes.Statuses, s)
}

func (o *Nodes) table(statuses []*nodestatus.Status, s *Screen) error {
	wide := o.output == outWide
	t := table{columns: []column{
		{title: "NODE", most: 28}, {title: "STATE"}, {title: "MAP", most: 10}, {title: "SIZE", right: true}, {title: "USED", right: true},
		{title: "NOW/S", right: true}, {title: "10M/S", right: true}, {title: "FORCED", right: true},
		{title: "INCIDENTS", right: true}, {title: "LOST", right: true}, {title: "AGENT", most: 10},
	}}
	if wide {
		t.columns[0].most, t.columns[10].most = 0, 0
		t.columns = append(t.columns, column{title: "CILIUM"}, column{title: "KERNEL"}, column{title: "BACKEND"},
			column{title: "LONGEST-GAP", right: true}, column{title: "NOT-READY"})
	}
	var states []nodestatus.State
	for _, n := range statuses {
		for i, cells := range nodeRows(n) {
			if i > 0 {
				cells[0], cells[1], cells[8], cells[9], cells[10] = "", "", "", "", ""
			}
			if !wide {
				cells = cells[:len(t.columns)]
			}
			t.add(cells...)
			states = append(states, n.State())
		}
	}
	t.paint = func(row, column int, text string) string {
		switch {
		case column == 1 && states[row] == nodestatus.Breaking:
			return s.paint(color.FgRed, text)
		case column == 1 && states[row] == nodestatus.Evicting:
			return s.paint(color.FgYellow, text)
		}
		return text
	}
	return t.writeTo(s.Out)
}

// nodeRows are the cells of each of a node's NAT maps; of a node without maps
// one row says so.
func nodeRows(n *nodestatus.Status) (rows [][]string) {
	var lost uint64
	for _, count := range n.Losses {
		lost += count
	}
	var waiting []string
	for _, p := range n.Parts {
		if !p.Ready {
			waiting = append(waiting, p.Name)
		}
	}
	row := func(name, size, used, now, ten, forced, gap string) {
		rows = append(rows, []string{
			n.Node, string(n.State()), name, size, used, now, ten, forced,
			fmt.Sprintf("%d/%d", n.Incidents.Reset, n.Incidents.Unconfirmed), strconv.FormatUint(lost, 10), n.Renat,
			n.Hubble.Version, n.Machine.Kernel, n.Kernel.Backend, gap, strings.Join(waiting, ","),
		})
	}
	for _, m := range n.Maps {
		if m.CT {
			continue
		}
		used, forced := "?", "-"
		if m.Entries != nil {
			used = share(float64(*m.Entries), float64(m.MaxEntries))
		}
		if m.LastTenMinutes.Evictions > 0 {
			forced = share(m.LastTenMinutes.ForcedShare, 1)
		}
		row(shortMap(m.Name), strconv.FormatUint(uint64(m.MaxEntries), 10), used,
			rate(m.LastMinute.Evictions), rate(m.LastTenMinutes.Evictions), forced, m.LongestGap.Round(time.Second).String())
	}
	if len(rows) == 0 {
		row("none", "-", "-", "-", "-", "-", "-")
	}
	return rows
}
