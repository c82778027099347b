// SPDX-License-Identifier: Apache-2.0

package board

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
)

// Summary counts the incidents that a filter chooses.
type Summary struct {
	// Total of them, and of the board whatever the filter.
	Total int `json:"total"`
	Held  int `json:"held"`
	// Newest is the time of the board's newest incident, whatever the filter.
	Newest   time.Time                `json:"newest,omitzero"`
	Kinds    map[incident.Kind]int    `json:"kinds"`
	Causes   map[incident.Cause]int   `json:"causes"`
	Outcomes map[incident.Outcome]int `json:"outcomes"`
	// Step is the length of a bucket in seconds.
	Step int `json:"step_seconds"`
	// Buckets are consecutive, the oldest first, at most 62.
	Buckets []Bucket `json:"buckets"`
	// The ten workloads, destinations and nodes with the most incidents.
	Workloads    []Count `json:"workloads"`
	Destinations []Count `json:"destinations"`
	Nodes        []Count `json:"nodes"`
	// Untold are those of Nodes of which no status is known.
	Untold []string `json:"untold,omitempty"`
	// Groups with the most incidents, as many as were asked for; MoreGroups
	// is how many others there are.
	Groups     []Group `json:"groups"`
	MoreGroups int     `json:"more_groups"`
}

// Bucket counts the incidents of one span of time.
type Bucket struct {
	Time          time.Time `json:"time"` // its beginning
	Renat         int       `json:"renat"`
	OrphanedReply int       `json:"orphaned_reply"`
	Other         int       `json:"other"` // of all other kinds
}

// Count is how often something has an incident.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Group counts incidents that have all of a groupKey in common.
type Group struct {
	groupKey
	Count int       `json:"count"`
	Reset int       `json:"reset"` // of these, the reset was seen
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Incident is the id of the newest.
	Incident string `json:"incident"`
}

type groupKey struct {
	Workload    string         `json:"workload"`
	Destination string         `json:"destination"`
	Node        string         `json:"node"`
	Kind        incident.Kind  `json:"kind"`
	Cause       incident.Cause `json:"cause"`
}

const (
	maxBuckets = 60 // besides a begun one at either end
	mostCounts = 10
)

// steps are the lengths a bucket can have.
var steps = []time.Duration{
	time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute,
	30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

// Summary counts what the filter chooses until now, with so many groups. The
// buckets span the filter's times; where it has none, those of the incidents. It
// fails when ctx ends.
func (b *Board) Summary(ctx context.Context, f *filter.Filter, groups int, now time.Time) (Summary, error) {
	s := Summary{Kinds: map[incident.Kind]int{}, Causes: map[incident.Cause]int{}, Outcomes: map[incident.Outcome]int{}}
	s.Held, s.Newest = b.held()
	chosen, err := b.match(ctx, f)
	if err != nil {
		return s, err
	}
	s.count(chosen)
	s.Untold = b.untold(s.Nodes)
	s.fill(chosen, f, now)
	s.group(chosen, groups)
	return s, nil
}

// held is how many incidents there are, and the newest one's time.
func (b *Board) held() (int, time.Time) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := len(b.window.entries)
	if n == 0 {
		return 0, time.Time{}
	}
	return n, b.window.entries[n-1].incident.Time
}

func (s *Summary) count(chosen []*entry) {
	s.Total = len(chosen)
	workloads, destinations, nodes := map[string]int{}, map[string]int{}, map[string]int{}
	for _, e := range chosen {
		i := e.incident
		s.Kinds[i.Kind]++
		s.Causes[i.Cause]++
		s.Outcomes[i.Outcome]++
		workloads[e.owner]++
		destinations[e.server]++
		nodes[i.Node]++
	}
	s.Workloads, s.Destinations, s.Nodes = most(workloads), most(destinations), most(nodes)
}

func most(counts map[string]int) []Count {
	all := make([]Count, 0, len(counts))
	for name, n := range counts {
		all = append(all, Count{name, n})
	}
	slices.SortFunc(all, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return all[:min(len(all), mostCounts)]
}

// fill counts by time; chosen is ordered by time.
func (s *Summary) fill(chosen []*entry, f *filter.Filter, now time.Time) {
	from, to := f.Since, f.Until
	if to.IsZero() {
		to = now
	}
	if from.IsZero() {
		from = to
		if len(chosen) > 0 {
			from = chosen[0].incident.Time
		}
	}
	if len(chosen) > 0 && f.Until.IsZero() && chosen[len(chosen)-1].incident.Time.After(to) {
		to = chosen[len(chosen)-1].incident.Time // a node's clock is ahead
	}
	step := steps[len(steps)-1]
	for _, d := range steps {
		if to.Sub(from) < (maxBuckets+1)*d {
			step = d
			break
		}
	}
	s.Step = int(step / time.Second)
	from = from.Truncate(step)
	if oldest := to.Truncate(step).Add(-maxBuckets * step); from.Before(oldest) {
		from = oldest // more than a year: what is older is only in the total
	}
	s.Buckets = []Bucket{}
	for at := from; !at.After(to); at = at.Add(step) {
		s.Buckets = append(s.Buckets, Bucket{Time: at.UTC()})
	}
	for _, e := range chosen {
		i := e.incident
		n := int(i.Time.Sub(from) / step)
		if i.Time.Before(from) || n >= len(s.Buckets) {
			continue
		}
		switch i.Kind {
		case incident.Renat:
			s.Buckets[n].Renat++
		case incident.OrphanedReply:
			s.Buckets[n].OrphanedReply++
		default:
			s.Buckets[n].Other++
		}
	}
}

func (s *Summary) group(chosen []*entry, limit int) {
	s.Groups = []Group{}
	if limit == 0 {
		return
	}
	groups := map[groupKey]*Group{}
	for _, e := range chosen {
		i := e.incident
		key := groupKey{Workload: e.owner, Destination: e.server, Node: i.Node, Kind: i.Kind, Cause: i.Cause}
		g := groups[key]
		if g == nil {
			g = &Group{groupKey: key, First: i.Time}
			groups[key] = g
		}
		g.Count++
		if i.Outcome == incident.Reset {
			g.Reset++
		}
		g.Last, g.Incident = i.Time, i.ID
	}
	for _, g := range groups {
		s.Groups = append(s.Groups, *g)
	}
	slices.SortFunc(s.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last), cmp.Compare(a.Incident, b.Incident))
	})
	if len(s.Groups) > limit {
		s.MoreGroups = len(s.Groups) - limit
		s.Groups = s.Groups[:limit]
	}
}
