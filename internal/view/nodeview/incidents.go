// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
	"github.com/renat-project/renat/internal/view/fleet"
)

// Incidents lists what broke, the newest first.
type Incidents struct {
	output  string
	limit   int
	groupBy string
	many    map[string]*[]string // by parameter of the filter
	one     map[string]*string
}

// shownID is how much of an id tables show; Describe finds it by that.
const shownID = 12

// The values of --group-by.
var groupings = map[string]func(*incident.Incident) string{
	"workload":    func(i *incident.Incident) string { return i.Source.Owner() },
	"destination": func(i *incident.Incident) string { return i.Destination.HostPort() },
	"node":        func(i *incident.Incident) string { return i.Node },
}

// Groupings are the values of --group-by, for completion.
func Groupings() []string { return []string{"workload", "destination", "node"} }

// filterFlags are the names that differ from the parameter's: hubble's.
var filterFlags = map[string]string{"node": "node-name"}

func filterFlag(param string) string {
	if name, ok := filterFlags[param]; ok {
		return name
	}
	return param
}

// Register makes flags of the options.
func (o *Incidents) Register(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "", outputHelp)
	f.IntVar(&o.limit, "limit", 50, "at most so many; 0: all that the agents keep, up to 1000 each")
	f.StringVar(&o.groupBy, "group-by", "", "count them by workload, destination or node instead")
	o.many, o.one = map[string]*[]string{}, map[string]*string{}
	for _, p := range filter.Params() {
		help, short := p.Help, ""
		if len(p.Values) > 0 {
			help += ": " + strings.Join(p.Values, ", ")
		}
		if p.Name == "namespace" {
			short = "n"
		}
		if p.Single {
			o.one[p.Name] = f.StringP(filterFlag(p.Name), short, "", help)
		} else {
			o.many[p.Name] = f.StringSliceP(filterFlag(p.Name), short, nil, "only this "+help)
		}
	}
}

// query returns the filter, checked.
func (o *Incidents) query(now time.Time) (url.Values, error) {
	q := url.Values{}
	for name, values := range o.many {
		if len(*values) > 0 {
			q[name] = *values
		}
	}
	for name, value := range o.one {
		if *value != "" {
			q.Set(name, *value)
		}
	}
	_, err := filter.Parse(q, now)
	var wrong *filter.Error
	if errors.As(err, &wrong) {
		wrong.Param = "--" + filterFlag(wrong.Param)
		return nil, UsageError{err}
	}
	return q, err
}

// Run asks src and shows them.
func (o *Incidents) Run(ctx context.Context, src fleet.Source, s *Screen) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	of, grouped := groupings[o.groupBy]
	if o.groupBy != "" && !grouped {
		return UsageError{fmt.Errorf("--group-by %q is not one of %s", o.groupBy, strings.Join(Groupings(), ", "))}
	}
	if o.limit < 0 {
		return UsageError{fmt.Errorf("--limit %d is negative", o.limit)}
	}
	q, err := o.query(time.Now())
	if err != nil {
		return err
	}
	limit := o.limit
	if grouped {
		limit = 0
	}
	found, err := src.Incidents(ctx, q, limit)
	if err != nil {
		return err
	}
	if grouped {
		err = o.groups(found.Incidents, of, s)
	} else {
		err = o.list(found, s)
	}
	if err != nil {
		return err
	}
	if found.More > 0 && o.output == outTable {
		fmt.Fprintf(s.Err, "%d older ones are not shown: see --limit, or renat observe for all that NATS has stored\n", found.More)
	}
	return s.tell(found.Silent, found.Answered)
}

func (o *Incidents) list(found fleet.Incidents, s *Screen) error {
	switch o.output {
	case outJSON, outYAML:
		events := []json.RawMessage{}
		for _, i := range found.Incidents {
			event, err := i.MarshalCloudEvent()
			if err != nil {
				return err
			}
			events = append(events, event)
		}
		return encode(s.Out, struct {
			Incidents []json.RawMessage `json:"incidents"`
			More      int               `json:"more"`
			Silent    []fleet.Silence   `json:"silent"`
		}{events, found.More, append([]fleet.Silence{}, found.Silent...)}, o.output)
	case outName:
		for _, i := range found.Incidents {
			if _, err := fmt.Fprintln(s.Out, "incident/"+i.ID); err != nil {
				return err
			}
		}
		return nil
	}
	t := table{columns: []column{
		{title: "TIME"}, {title: "SOURCE", most: 29}, {title: "DESTINATION", most: 29}, {title: "KIND"}, {title: "OUTCOME"}, {title: "ID", most: 0},
	}}
	if o.output == outWide {
		t.columns[1].most, t.columns[2].most = 0, 0
		t.columns = append(t.columns, column{title: "CAUSE"}, column{title: "NODE"}, column{title: "BEFORE"}, column{title: "AFTER"})
	}
	var outcomes []incident.Outcome
	for _, i := range found.Incidents {
		cells := []string{
			i.Time.Local().Format("01-02 15:04:05"), i.Source.Owner(), i.Destination.HostPort(), string(i.Kind), string(i.Outcome), i.ID[:min(shownID, len(i.ID))],
			string(i.Cause), i.Node, i.NAT.Before, i.NAT.After,
		}
		t.add(cells[:len(t.columns)]...)
		outcomes = append(outcomes, i.Outcome)
	}
	t.paint = func(row, column int, text string) string {
		if column == 4 && outcomes[row] == incident.Reset {
			return s.paint(color.FgRed, text)
		}
		return text
	}
	return t.writeTo(s.Out)
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
	if o.output == outJSON || o.output == outYAML {
		return encode(s.Out, groups, o.output)
	}
	t := table{columns: []column{
		{title: strings.ToUpper(o.groupBy), most: 60}, {title: "INCIDENTS", right: true}, {title: "RESET", right: true}, {title: "NODES", right: true}, {title: "LAST"},
	}}
	for _, g := range groups {
		if o.output == outName {
			if _, err := fmt.Fprintln(s.Out, o.groupBy+"/"+g.Name); err != nil {
				return err
			}
			continue
		}
		t.add(g.Name, strconv.Itoa(g.Count), strconv.Itoa(g.Reset), strconv.Itoa(g.Nodes), g.Last.Local().Format("01-02 15:04:05"))
	}
	if o.output == outName {
		return nil
	}
	return t.writeTo(s.Out)
}
