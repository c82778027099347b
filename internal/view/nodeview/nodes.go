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
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
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

// FoundError says that there is what was looked for: nodes as bad as --fail-on
// names, or something that is not in order.
type FoundError struct {
	What  string
	Count int
}

// Error counts it.
func (e *FoundError) Error() string { return fmt.Sprintf("%s: %d", e.What, e.Count) }

// Register makes flags of the options.
func (o *Nodes) Register(f *pflag.FlagSet) {
	o.register(f)
	f.BoolVarP(&o.watch, "watch", "w", false, "show it again and again")
	f.DurationVar(&o.every, "every", 2*time.Second, "time between two looks of --watch")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 3 if a node is as bad as this, or worse: "+strings.Join(FailOn(), ", ")+"; one that does not answer is blind")
}

// Run asks src and shows it.
func (o *Nodes) Run(ctx context.Context, src fleet.Source, s *Screen) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.failOn != "" && !slices.Contains(FailOn(), o.failOn) {
		return UsageError{fmt.Errorf("--fail-on %q is not one of %s", o.failOn, strings.Join(FailOn(), ", "))}
	}
	if o.every < 100*time.Millisecond {
		return UsageError{fmt.Errorf("--every %v is less than 100ms", o.every)}
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
	var found *FoundError
	var wrong UsageError
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
	found := FoundError{What: "nodes that are " + o.failOn + ", or worse", Count: len(nodes.Silent)}
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

// FailOn are the values of --fail-on: the states of those that answer but ok.
func FailOn() []string {
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
	if o.custom() {
		var things []any
		for _, n := range nodes.Statuses {
			things = append(things, newNodeOut(n))
		}
		return o.customTable(s, things)
	}
	switch o.output {
	case outJSON, outYAML:
		out := struct {
			Nodes  []nodeOut       `json:"nodes"`
			Silent []fleet.Silence `json:"silent"`
		}{[]nodeOut{}, append([]fleet.Silence{}, nodes.Silent...)}
		for _, n := range nodes.Statuses {
			out.Nodes = append(out.Nodes, newNodeOut(n))
		}
		return encode(s.Out, out, o.output)
	case outName:
		for _, n := range nodes.Statuses {
			if o.failOn != "" && n.State().Severity() < nodestatus.State(o.failOn).Severity() {
				continue // the names are for whom it wakes
			}
			if _, err := fmt.Fprintln(s.Out, "node/"+n.Node); err != nil {
				return err
			}
		}
		return nil
	}
	return o.table(nodes.Statuses, s)
}

// defaultColumns are what is shown without -o wide; CT-LOST/MIN is added where a
// node lost tracking entries of living connections, AT-RISK where a connection is,
// GUARD where a node has one, NOT-READY where a part is not.
const defaultColumns = 11

func (o *Nodes) table(statuses []*nodestatus.Status, s *Screen) error {
	wide := o.output == outWide
	t := render.Table{Columns: []render.Column{
		{Title: "NODE", Name: true}, {Title: "STATE"}, {Title: "MAP", Name: true}, {Title: "SIZE", Right: true}, {Title: "USED", Right: true},
		{Title: "NOW/S", Right: true}, {Title: "10M/S", Right: true}, {Title: "FORCED", Right: true},
		{Title: "INCIDENTS", Right: true}, {Title: "LOST", Right: true}, {Title: "AGENT"},
	}, Width: s.Width}
	if wide {
		t.Width = 0
		t.Columns = append(t.Columns, render.Column{Title: "CILIUM"}, render.Column{Title: "KERNEL"}, render.Column{Title: "BACKEND"},
			render.Column{Title: "LONGEST-GAP", Right: true}, render.Column{Title: "AT-RISK", Right: true}, render.Column{Title: "GUARD"}, render.Column{Title: "NOT-READY"})
	}
	risks := !wide && slices.ContainsFunc(statuses, func(n *nodestatus.Status) bool { return n.AtRisk != nil && *n.AtRisk > 0 })
	guards := !wide && slices.ContainsFunc(statuses, func(n *nodestatus.Status) bool { return n.Guard != nil })
	waits := !wide && slices.ContainsFunc(statuses, func(n *nodestatus.Status) bool { return !n.Ready() })
	alive := slices.ContainsFunc(statuses, func(n *nodestatus.Status) bool { return lostAlive(n) > 0 })
	if alive {
		t.Columns = append(t.Columns, render.Column{Title: "CT-LOST/MIN", Right: true})
	}
	if risks {
		t.Columns = append(t.Columns, render.Column{Title: "AT-RISK", Right: true})
	}
	if guards {
		t.Columns = append(t.Columns, render.Column{Title: "GUARD"})
	}
	if waits {
		t.Columns = append(t.Columns, render.Column{Title: "NOT-READY"})
	}
	var states []nodestatus.State
	for _, n := range statuses {
		for i, cells := range nodeRows(n) {
			if i > 0 {
				cells[0], cells[1], cells[8], cells[9], cells[10], cells[riskCell], cells[riskCell+1], cells[aliveCell] = "", "", "", "", "", "", "", ""
			}
			if wide && i == 0 {
				cells[riskCell+1] = guardDetails(n.Guard)
			}
			if !wide {
				some := cells[:defaultColumns:defaultColumns]
				if alive {
					some = append(some, cells[aliveCell])
				}
				for i, shown := range []bool{risks, guards, waits} {
					if shown {
						some = append(some, cells[riskCell+i])
					}
				}
				cells = some
			} else if !alive {
				cells = cells[:aliveCell]
			}
			t.Add(cells...)
			states = append(states, n.State())
		}
	}
	t.Paint = func(row, column int, text string) string {
		switch {
		case column == 1 && states[row].Severity() >= nodestatus.Breaking.Severity():
			return s.paint(color.FgRed, text)
		case column == 1 && states[row] == nodestatus.Evicting:
			return s.paint(color.FgYellow, text)
		}
		return text
	}
	return s.flush(&t, o.noTitles)
}

// riskCell is where nodeRows has the column AT-RISK; GUARD and NOT-READY follow.
const riskCell = 15

// aliveCell is where it has CT-LOST/MIN, the last.
const aliveCell = riskCell + 3

// lostAlive is how many tracking entries of living connections were removed.
func lostAlive(n *nodestatus.Status) (sum uint64) {
	for _, m := range n.Maps {
		for _, count := range m.LostAlive {
			sum += count
		}
	}
	return sum
}

// guardWords tell of a node's guard.
func guardWords(g *nodestatus.Guard) string {
	switch {
	case g == nil:
		return "off"
	case strings.HasPrefix(g.Problem, nodestatus.GuardTooSmall):
		return strconv.Itoa(g.Connections) + ", " + nodestatus.GuardTooSmall
	case g.Problem != "" && g.Connections == 0:
		return "not working"
	case g.Idle:
		return "idle"
	}
	return strconv.Itoa(g.Connections)
}

// guardDetails tell of its cost, and of its use, too.
func guardDetails(g *nodestatus.Guard) string {
	words := guardWords(g)
	if g == nil || g.Runs == 0 {
		return words
	}
	return fmt.Sprintf("%s (%d runs, %.0f ns each, about %d kept, %d lost)", words, g.Runs, g.NanosecondsPerConnection, g.Kept, g.Lost)
}

// nodeRows are the cells of each of a node's NAT maps; of a node without maps
// one row says so.
func nodeRows(n *nodestatus.Status) (rows [][]string) {
	var lost uint64
	for _, count := range n.Losses {
		lost += count
	}
	perSecond := 0.0 // of the last ten minutes
	for _, m := range n.Maps {
		perSecond += m.LastTenMinutes.LostAlive
	}
	var waiting []string
	for _, p := range n.Parts {
		if !p.Ready {
			waiting = append(waiting, p.Name)
		}
	}
	atRisk := "?"
	if n.AtRisk != nil {
		atRisk = strconv.Itoa(*n.AtRisk)
	}
	row := func(name, size, used, now, ten, forced, gap string) {
		rows = append(rows, []string{
			n.Node, string(n.State()), name, size, used, now, ten, forced,
			fmt.Sprintf("%d/%d", n.Incidents.Reset+n.Incidents.Outcomes["dropped"]+n.Incidents.Outcomes["timeout"], n.Incidents.Unconfirmed), strconv.FormatUint(lost, 10), n.Renat,
			n.Hubble.Version, n.Machine.Kernel, n.Kernel.Backend, gap, atRisk, guardWords(n.Guard), strings.Join(waiting, ","), rate(60 * perSecond),
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
