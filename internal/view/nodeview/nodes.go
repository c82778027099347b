// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// Nodes shows how each node and its NAT maps are.
type Nodes struct {
	listing
	watch  bool
	every  time.Duration
	failOn string
	// Only these nodes; empty: all.
	Only []string
}

// Register makes flags of the options.
func (o *Nodes) Register(cmd *cobra.Command) {
	o.register(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.watch, "watch", "w", false, "show it again and again")
	f.DurationVar(&o.every, "every", 2*time.Second, "time between two looks of --watch")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 3 if a node is as bad as this, or worse: "+strings.Join(failOn(), ", ")+"; one that does not answer is blind")
	usage.Complete(cmd, "fail-on", failOn()...)
}

// Run asks src and shows it.
func (o *Nodes) Run(ctx context.Context, src fleet.Source, s *Screen) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.failOn != "" && !slices.Contains(failOn(), o.failOn) {
		return usage.Errorf("--fail-on %q is not one of %s", o.failOn, strings.Join(failOn(), ", "))
	}
	if o.every < 100*time.Millisecond {
		return usage.Errorf("--every %v is less than 100ms", o.every)
	}
	for looked := false; ; looked = true {
		err := o.look(ctx, src, s)
		if !o.watch || err != nil && (!looked || !passes(err)) {
			return err
		}
		if err != nil {
			fmt.Fprintln(s.Err, err)
		}
		select {
		case <-ctx.Done():
			return nil // the way to end it
		case <-time.After(o.every):
		}
	}
}

// passes says whether an error may be gone at the next look: all but that what was
// looked for is there, or that it is asked for wrongly.
func passes(err error) bool {
	var found *usage.FoundError
	var wrong usage.Error
	return !errors.As(err, &found) && !errors.As(err, &wrong)
}

// keep leaves the nodes of Only.
func (o *Nodes) keep(nodes *fleet.Nodes) error {
	if len(o.Only) == 0 {
		return nil
	}
	nodes.Statuses = slices.DeleteFunc(nodes.Statuses, func(s *nodestatus.Status) bool { return !slices.Contains(o.Only, s.Node) })
	nodes.Silent = slices.DeleteFunc(nodes.Silent, func(s fleet.Silence) bool { return !slices.Contains(o.Only, s.Node) })
	for _, name := range o.Only {
		known := slices.ContainsFunc(nodes.Statuses, func(s *nodestatus.Status) bool { return s.Node == name }) ||
			slices.ContainsFunc(nodes.Silent, func(s fleet.Silence) bool { return s.Node == name })
		if !known {
			return fmt.Errorf("no agent runs on node %s", name)
		}
	}
	return nil
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
	if err := o.keep(&nodes); err != nil {
		return err
	}
	slices.SortStableFunc(nodes.Statuses, func(a, b *nodestatus.Status) int {
		return -cmp.Compare(a.State().Severity(), b.State().Severity())
	})
	if err := sortThings(&o.listing, nodes.Statuses, func(n *nodestatus.Status) any { return newNodeOut(n) }); err != nil {
		return err
	}
	var page bytes.Buffer
	drawn := s.hearing(nodes.Silent, nodes.Answered())
	drawn.Out, drawn.Err = &page, &page
	inPlace := o.watch && s.Terminal
	if !inPlace {
		drawn.Err = s.Err
	}
	if err := o.write(nodes, drawn); err != nil {
		return err
	}
	drawn.tellUnlisted(nodes.Unlisted)
	silent := drawn.tell(nodes.Silent, nodes.Answered())
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

// judge does what --fail-on asks for. Of a node that did not answer the worst
// has to be thought.
func (o *Nodes) judge(nodes fleet.Nodes) error {
	if o.failOn == "" {
		return nil
	}
	limit := nodestatus.State(o.failOn).Severity()
	found := usage.FoundError{What: "nodes that are " + o.failOn + ", or worse", Count: len(nodes.Silent)}
	for _, n := range nodes.Statuses {
		if n.State().Severity() >= limit {
			found.Count++
		}
	}
	if found.Count == 0 {
		return nil
	}
	return &found
}

// failOn are the values of --fail-on: the states of those that answer but ok.
func failOn() []string {
	var names []string
	for _, s := range nodestatus.States {
		if s != nodestatus.OK && s != nodestatus.Silent {
			names = append(names, string(s))
		}
	}
	return names
}

// nodeOut is a node in JSON and YAML.
type nodeOut struct {
	State nodestatus.State `json:"state"`
	Ready bool             `json:"ready"`
	*nodestatus.Status
}

func newNodeOut(n *nodestatus.Status) nodeOut { return nodeOut{n.State(), n.Ready(), n} }

func (o *Nodes) write(nodes fleet.Nodes, s *Screen) error {
	all := []nodeOut{}
	out := list{table: func() *render.Table { return o.table(nodes.Statuses, s) }}
	for _, n := range nodes.Statuses {
		all = append(all, newNodeOut(n))
		out.things = append(out.things, newNodeOut(n))
		if o.failOn == "" || n.State().Severity() >= nodestatus.State(o.failOn).Severity() { // the names are for whom it wakes
			out.names = append(out.names, "node/"+n.Node)
		}
	}
	out.whole = struct {
		Nodes  []nodeOut       `json:"nodes"`
		Silent []fleet.Silence `json:"silent"`
	}{all, append([]fleet.Silence{}, nodes.Silent...)}
	return o.show(s, out)
}

// nodeRow is a NAT map of a node, the node's first or not; nil: it has none.
type nodeRow struct {
	*nodestatus.Status
	natMap *nodestatus.Map
	first  bool
}

// nodeColumn is a column of the nodes' table: what of says of a node's first row,
// or ofMap of each; where nothing is shown it is left out.
type nodeColumn struct {
	render.Column
	shown bool
	of    func(*nodestatus.Status) string
	ofMap func(*nodestatus.Map) string
}

func (c *nodeColumn) cell(r nodeRow) string {
	switch {
	case c.ofMap != nil && r.natMap != nil:
		return c.ofMap(r.natMap)
	case c.ofMap != nil && c.Name:
		return "none"
	case c.ofMap != nil:
		return "-"
	case r.first:
		return c.of(r.Status)
	}
	return ""
}

func (o *Nodes) table(statuses []*nodestatus.Status, s *Screen) *render.Table {
	wide := o.output == outWide
	some := func(is func(*nodestatus.Status) bool) bool { return slices.ContainsFunc(statuses, is) }
	left := func(title string) render.Column { return render.Column{Title: title} }
	right := func(title string) render.Column { return render.Column{Title: title, Right: true} }
	guard := guardWords
	if wide {
		guard = guardDetails
	}
	columns := slices.DeleteFunc([]nodeColumn{
		{render.Column{Title: "NODE", Name: true}, true, func(n *nodestatus.Status) string { return n.Node }, nil},
		{left("STATE"), true, func(n *nodestatus.Status) string { return string(n.State()) }, nil},
		{render.Column{Title: "MAP", Name: true}, true, nil, func(m *nodestatus.Map) string { return shortMap(m.Name) }},
		{right("SIZE"), true, nil, func(m *nodestatus.Map) string { return strconv.FormatUint(uint64(m.MaxEntries), 10) }},
		{right("USED"), true, nil, func(m *nodestatus.Map) string {
			if m.Entries == nil {
				return "?"
			}
			return share(float64(*m.Entries), float64(m.MaxEntries))
		}},
		{right("NOW/S"), true, nil, func(m *nodestatus.Map) string { return rate(m.LastMinute.Evictions) }},
		{right("10M/S"), true, nil, func(m *nodestatus.Map) string { return rate(m.LastTenMinutes.Evictions) }},
		{right("FORCED"), true, nil, func(m *nodestatus.Map) string {
			if m.LastTenMinutes.Evictions == 0 {
				return "-"
			}
			return share(m.LastTenMinutes.ForcedShare, 1)
		}},
		{right("INCIDENTS"), true, func(n *nodestatus.Status) string {
			i := &n.Incidents
			return fmt.Sprintf("%d/%d", i.Reset+i.Outcomes["dropped"]+i.Outcomes["timeout"], i.Unconfirmed)
		}, nil},
		{right("LOST"), true, func(n *nodestatus.Status) string { return strconv.FormatUint(lost(n), 10) }, nil},
		{left("AGENT"), true, func(n *nodestatus.Status) string { return n.Renat }, nil},
		{left("CILIUM"), wide, func(n *nodestatus.Status) string { return n.Hubble.Version }, nil},
		{left("KERNEL"), wide, func(n *nodestatus.Status) string { return n.Machine.Kernel }, nil},
		{left("BACKEND"), wide, func(n *nodestatus.Status) string { return n.Kernel.Backend }, nil},
		{right("LONGEST-GAP"), wide, nil, func(m *nodestatus.Map) string { return m.LongestGap.Round(time.Second).String() }},
		{right("CT-LOST/MIN"), some(func(n *nodestatus.Status) bool { return lostAlive(n) > 0 }), func(n *nodestatus.Status) string { return rate(60 * lostAlivePerSecond(n)) }, nil},
		{right("AT-RISK"), wide || some(func(n *nodestatus.Status) bool { return n.AtRisk != nil && *n.AtRisk > 0 }), atRisk, nil},
		{left("GUARD"), wide || some(func(n *nodestatus.Status) bool { return n.Guard != nil }), guard, nil},
		{left("NOT-READY"), wide || some(func(n *nodestatus.Status) bool { return !n.Ready() }), waiting, nil},
	}, func(c nodeColumn) bool { return !c.shown })
	t := &render.Table{Width: s.Width}
	if wide {
		t.Width = 0
	}
	for _, c := range columns {
		t.Columns = append(t.Columns, c.Column)
	}
	rows := nodeRows(statuses)
	for _, r := range rows {
		var cells []string
		for _, c := range columns {
			cells = append(cells, c.cell(r))
		}
		t.Add(cells...)
	}
	t.Paint = func(row, column int, text string) string {
		switch {
		case column == 1 && rows[row].State().Severity() >= nodestatus.Breaking.Severity():
			return s.paint(color.FgRed, text)
		case column == 1 && rows[row].State() == nodestatus.Evicting:
			return s.paint(color.FgYellow, text)
		}
		return text
	}
	return t
}

// nodeRows are each node's NAT maps; a node without has one row, too.
func nodeRows(statuses []*nodestatus.Status) (rows []nodeRow) {
	for _, n := range statuses {
		first := true
		for i := range n.Maps {
			if !n.Maps[i].CT {
				rows = append(rows, nodeRow{n, &n.Maps[i], first})
				first = false
			}
		}
		if first {
			rows = append(rows, nodeRow{n, nil, true})
		}
	}
	return rows
}

// lost is how many events and incidents an agent lost.
func lost(n *nodestatus.Status) (sum uint64) {
	for _, count := range n.Losses {
		sum += count
	}
	return sum
}

func lostAlivePerSecond(n *nodestatus.Status) (sum float64) {
	for _, m := range n.Maps {
		sum += m.LastTenMinutes.LostAlive
	}
	return sum
}

func atRisk(n *nodestatus.Status) string {
	if n.AtRisk == nil {
		return "?"
	}
	return strconv.Itoa(*n.AtRisk)
}

// waiting are the parts that are not ready.
func waiting(n *nodestatus.Status) string {
	var parts []string
	for _, p := range n.Parts {
		if !p.Ready {
			parts = append(parts, p.Name)
		}
	}
	return strings.Join(parts, ",")
}

// lostAlive is how many tracking entries of living connections were removed.
func lostAlive(n *nodestatus.Status) (sum uint64) {
	for _, m := range n.Maps {
		for _, count := range m.LostAlive {
			sum += count
		}
	}
	return sum
}

// guardWords tell of a node's guard. Of maps that are too small they name what would be
// enough, if what the node measured tells: the agent's words do, too, but not alone.
func guardWords(n *nodestatus.Status) string {
	switch g := n.Guard; {
	case g == nil:
		return "off"
	case strings.HasPrefix(g.Problem, nodestatus.GuardTooSmall):
		words := strconv.Itoa(g.Connections) + ", " + nodestatus.GuardTooSmall
		if p := sizing.NewPlan(n.Measured(nil), nil); p.Impossible == "" && len(p.Values) > 0 {
			words += " (" + sizing.Written(p.Values, ", ") + ")"
		}
		return words
	case g.Problem != "" && g.Connections == 0:
		return "not working"
	case g.Idle:
		return "idle"
	default:
		return strconv.Itoa(g.Connections)
	}
}

// guardDetails tell of its cost, and of its use, too.
func guardDetails(n *nodestatus.Status) string {
	words, g := guardWords(n), n.Guard
	if g == nil || g.Runs == 0 {
		return words
	}
	return fmt.Sprintf("%s (%d runs, %.0f ns each, about %d kept, %d lost)", words, g.Runs, g.NanosecondsPerConnection, g.Kept, g.Lost)
}
