// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// Incidents lists what broke, the newest first.
type Incidents struct {
	listing
	watch   bool
	times   string
	limit   int
	groupBy string
	filter  usage.Filters
	rows    render.Table // of all that was written: columns stay as wide as they were
}

// The values of --group-by.
var groupings = map[string]func(*incident.Incident) string{
	"workload":    func(i *incident.Incident) string { return i.Source.Owner() },
	"destination": func(i *incident.Incident) string { return i.Destination.HostPort() },
	"node":        func(i *incident.Incident) string { return i.Node },
}

var groupingNames = []string{"workload", "destination", "node"}

// Register makes flags of the options.
func (o *Incidents) Register(cmd *cobra.Command) {
	o.register(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.watch, "watch", "w", false, "go on with those that come")
	f.StringVar(&o.times, "time-format", render.TimeFormats()[0], "format of times in tables: "+strings.Join(render.TimeFormats(), ", "))
	f.IntVar(&o.limit, "limit", 50, "at most so many; 0: all that the agents keep, up to 1000 each")
	f.StringVar(&o.groupBy, "group-by", "", "count them by workload, destination or node instead")
	usage.Complete(cmd, "group-by", groupingNames...)
	o.filter.Register(cmd)
}

// Run asks src and shows them.
func (o *Incidents) Run(ctx context.Context, src fleet.Source, s *Screen) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := render.CheckTimeFormat(o.times); err != nil {
		return usage.Errorf("%w", err)
	}
	of, grouped := groupings[o.groupBy]
	if o.groupBy != "" && !grouped {
		return usage.Errorf("--group-by %q is not one of %s", o.groupBy, strings.Join(groupingNames, ", "))
	}
	if o.limit < 0 {
		return usage.Errorf("--limit %d is negative", o.limit)
	}
	q, err := o.filter.Query(time.Now())
	if err != nil {
		return err
	}
	if o.watch {
		if grouped || q.Has("until") || o.output == outJSON || o.output == outYAML {
			return usage.Errorf("--watch goes on for ever: it goes with neither --group-by, --until, -o json nor -o yaml")
		}
		return o.follow(ctx, src, q, s)
	}
	limit := o.limit
	if grouped {
		limit = 0
	}
	found, err := src.Incidents(ctx, q, limit)
	if err != nil {
		return err
	}
	heard := s.hearing(found.Silent, found.Answered)
	if grouped {
		err = o.groups(found.Incidents, of, heard)
	} else {
		err = o.list(found, heard)
	}
	if err != nil {
		return err
	}
	if found.More > 0 && o.output == outTable {
		fmt.Fprintf(s.Err, "%d older ones are not shown: see --limit, or renat observe for all that NATS has stored\n", found.More)
	}
	return s.tell(found.Silent, found.Answered)
}

// watchEvery is the time between two looks for incidents, overlap how much longer
// ago than the newest that is known one may be found: a node may have been silent,
// and clocks differ.
const (
	watchEvery = 2 * time.Second
	overlap    = 10 * time.Minute
)

// follow shows the newest, the oldest of them first, and then those that come.
func (o *Incidents) follow(ctx context.Context, src fleet.Source, q url.Values, s *Screen) error {
	seen := map[string]time.Time{}
	limit, looked := o.limit, false
	newest := time.Now()
	for ; ; looked = true {
		found, err := src.Incidents(ctx, q, limit)
		switch {
		case ctx.Err() != nil:
			return nil // the way to end it
		case err != nil && !looked:
			return err
		case err != nil:
			fmt.Fprintln(s.Err, err)
		}
		found.Incidents = slices.DeleteFunc(found.Incidents, func(i *incident.Incident) bool { return !seen[i.ID].IsZero() })
		slices.Reverse(found.Incidents)
		for _, i := range found.Incidents {
			seen[i.ID] = i.Time
			if i.Time.After(newest) {
				newest = i.Time
			}
		}
		if len(found.Incidents) > 0 {
			if err := o.list(found, s); err != nil {
				return err
			}
			o.noTitles = true
		}
		since := newest.Add(-overlap)
		maps.DeleteFunc(seen, func(_ string, t time.Time) bool { return t.Before(since) })
		if !looked {
			if err := s.tell(found.Silent, found.Answered); err != nil {
				return err
			}
		}
		q, limit = maps.Clone(q), 0
		q.Set("since", since.Format(time.RFC3339Nano))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

func (o *Incidents) list(found fleet.Incidents, s *Screen) error {
	if err := sortThings(&o.listing, found.Incidents, func(i *incident.Incident) any { return cloudEvent{i} }); err != nil {
		return err
	}
	out := list{table: func() *render.Table { return o.table(found, s) }}
	events := []cloudEvent{}
	for _, i := range found.Incidents {
		events = append(events, cloudEvent{i})
		out.things, out.names = append(out.things, cloudEvent{i}), append(out.names, "incident/"+i.ID)
	}
	out.whole = struct {
		Incidents []cloudEvent    `json:"incidents"`
		More      int             `json:"more"`
		Silent    []fleet.Silence `json:"silent"`
	}{events, found.More, append([]fleet.Silence{}, found.Silent...)}
	return o.show(s, out)
}

func (o *Incidents) table(found fleet.Incidents, s *Screen) *render.Table {
	t := &o.rows
	t.Width, t.Columns = s.Width, []render.Column{
		{Title: "TIME"}, {Title: "ID"}, {Title: "NODE", Name: true}, {Title: "SOURCE", Name: true}, {Title: "DESTINATION", Name: true},
		{Title: "KIND"}, {Title: "CAUSE"}, {Title: "OUTCOME"},
	}
	if o.output == outWide {
		t.Width = 0
		t.Columns = append(t.Columns, render.Column{Title: "BEFORE"}, render.Column{Title: "AFTER"})
	}
	for _, i := range found.Incidents {
		cells := []string{
			render.Stamp(i.Time.Local(), o.times), i.ShortID(), i.Node, i.Source.Owner(), i.Destination.HostPort(),
			string(i.Kind), string(i.Cause), string(i.Outcome), i.NAT.Before, i.NAT.After,
		}
		t.Add(cells[:len(t.Columns)]...)
	}
	t.Paint = func(row, column int, text string) string {
		if column == 7 && found.Incidents[row].Outcome != incident.Unconfirmed {
			return s.paint(color.FgRed, text)
		}
		return text
	}
	return t
}

// groupOut counts like incidents.
type groupOut struct {
	Name  string    `json:"name"`
	Count int       `json:"count"`
	Reset int       `json:"reset"`
	Nodes int       `json:"nodes"`
	Last  time.Time `json:"last"`
}

func (o *Incidents) groups(all []*incident.Incident, of func(*incident.Incident) string, s *Screen) error {
	by := map[string]*groupOut{}
	counts, nodes := map[string]int{}, map[string]map[string]bool{}
	for _, i := range all {
		name := of(i)
		if by[name] == nil {
			by[name], nodes[name] = &groupOut{Name: name}, map[string]bool{}
		}
		g := by[name]
		g.Count++
		if i.Outcome == incident.Reset {
			g.Reset++
		}
		nodes[name][i.Node] = true
		g.Nodes = len(nodes[name])
		if i.Time.After(g.Last) {
			g.Last = i.Time
		}
		counts[name]++
	}
	groups := []*groupOut{}
	for _, name := range sorted(counts) {
		groups = append(groups, by[name])
	}
	if o.limit > 0 {
		groups = slices.Clip(groups[:min(o.limit, len(groups))])
	}
	out := list{whole: groups}
	t := &render.Table{Columns: []render.Column{
		{Title: strings.ToUpper(o.groupBy), Name: true}, {Title: "INCIDENTS", Right: true}, {Title: "RESET", Right: true}, {Title: "NODES", Right: true}, {Title: "LAST"},
	}, Width: s.Width}
	for _, g := range groups {
		out.things, out.names = append(out.things, g), append(out.names, o.groupBy+"/"+g.Name)
		t.Add(g.Name, strconv.Itoa(g.Count), strconv.Itoa(g.Reset), strconv.Itoa(g.Nodes), render.Stamp(g.Last.Local(), o.times))
	}
	out.table = func() *render.Table { return t }
	return o.show(s, out)
}
