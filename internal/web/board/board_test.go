// SPDX-License-Identifier: Apache-2.0

package board_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/web/board"
)

var epoch = time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)

// sample returns the n-th of any number of incidents, one a second.
func sample(n int) *incident.Incident {
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset,
		Time: epoch.Add(time.Duration(n) * time.Second), Node: fmt.Sprintf("node-%d", n%3), Cluster: "prod", Protocol: "TCP",
		Source: incident.Endpoint{
			IP: netip.MustParseAddr("10.0.0.1"), Port: uint16(40000 + n%1000), Namespace: "shop",
			Pod: fmt.Sprintf("cart-%d", n%5), Workload: "Deployment/cart", Labels: []string{"k8s:app=cart"},
		},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443, Names: []string{"api.example.com"}},
		NAT:         incident.NAT{Map: "cilium_snat_v4_external", Before: "198.51.100.1:40000", After: "198.51.100.1:51111"},
		Evidence:    []incident.Evidence{{From: incident.Kernel, What: "evicted"}},
		Map:         incident.Map{MaxEntries: 512},
	}
	if n%2 == 1 {
		i.Kind, i.Outcome = incident.OrphanedReply, incident.Unconfirmed
	}
	i.ID = i.NewID(uint64(n))
	return i
}

func fill(b *board.Board, numbers ...int) *board.Board {
	for _, n := range numbers {
		b.Add(sample(n), uint64(n))
	}
	return b
}

func span(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

func parse(t *testing.T, query string) *filter.Filter {
	t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	f, err := filter.Parse(q, epoch.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return &f
}

func summary(t *testing.T, b *board.Board, f *filter.Filter, groups int, now time.Time) board.Summary {
	t.Helper()
	s, err := b.Summary(t.Context(), f, groups, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Nobody is left to read the answer: it is not worked out.
func TestWhoHasGoneIsNotAnswered(t *testing.T) {
	b := fill(board.New(board.Config{}), span(0, 5)...)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Summary(gone, &filter.Filter{}, 0, epoch); !errors.Is(err, context.Canceled) {
		t.Errorf("a summary: %v", err)
	}
	if _, err := b.Incidents(gone, &filter.Filter{}, board.Page{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a list: %v", err)
	}
}

// The beginning of an id, as hubble and tables show it, finds its incident.
func TestIncidentByPrefix(t *testing.T) {
	b := fill(board.New(board.Config{}), span(0, 300)...)
	id := sample(7).ID
	for _, beginning := range []string{id, id[:12], strings.ToUpper(id[:12])} {
		if i, err := b.Incident(t.Context(), beginning); err != nil || i.ID != id {
			t.Errorf("%s: %v, %v", beginning, i, err)
		}
	}
	alike := &board.AlikeError{}
	twin := *sample(7)
	twin.ID = id[:12] + strings.Repeat("f", len(id)-12)
	b.Add(&twin, 0)
	if _, err := b.Incident(t.Context(), id[:12]); !errors.As(err, &alike) || len(alike.IDs) != 2 || !strings.Contains(err.Error(), "write more of it") {
		t.Errorf("two with this beginning: %v", err)
	}
	if i, err := b.Incident(t.Context(), id); err != nil || i.ID != id {
		t.Errorf("the whole id of one of two: %v, %v", i, err)
	}
	foreign := *sample(8)
	foreign.ID = "FOREIGN-8"
	b.Add(&foreign, 0)
	if i, err := b.Incident(t.Context(), foreign.ID); err != nil || i.ID != foreign.ID {
		t.Errorf("an id that is not renat's: %v, %v", i, err)
	}
	for _, none := range []string{"", id[:3], "zzzzzzzz", id + "0"} {
		if _, err := b.Incident(t.Context(), none); !errors.Is(err, board.ErrUnknown) {
			t.Errorf("%q: %v", none, err)
		}
	}
}

// list returns the seconds after epoch of a page's incidents.
func list(t *testing.T, b *board.Board, query string, p board.Page) ([]int, board.Listing) {
	t.Helper()
	l, err := b.Incidents(t.Context(), parse(t, query), p)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, i := range l.Incidents {
		got = append(got, int(i.Time.Sub(epoch)/time.Second))
		if len(i.Evidence) != 0 || i.Source.Labels != nil {
			t.Errorf("a list has evidence or labels: %+v", i)
		}
	}
	return got, l
}

func TestNewestFirstWhateverTheOrder(t *testing.T) {
	b := fill(board.New(board.Config{Incidents: 5}), 3, 1, 2, 2, 7, 5, 0, 6, 4)
	if got, l := list(t, b, "", board.Page{Limit: 10}); !slices.Equal(got, []int{7, 6, 5, 4, 3}) || l.Total != 5 || l.Next != "" {
		t.Errorf("got %v, %+v", got, l)
	}
	if _, err := b.Incident(t.Context(), sample(1).ID); !errors.Is(err, board.ErrUnknown) {
		t.Errorf("an incident that had to go: %v", err)
	}
	whole, err := b.Incident(t.Context(), sample(7).ID)
	if err != nil || len(whole.Evidence) != 1 {
		t.Errorf("got %+v, %v", whole, err)
	}
	long := sample(9)
	long.ID = strings.Repeat("x", 1000)
	if b.Add(long, 0); summary(t, b, &filter.Filter{}, 0, epoch).Held != 5 {
		t.Error("an id of any length is taken")
	}
}

// Pages stay what they were while newer incidents come.
func TestPaging(t *testing.T) {
	b := fill(board.New(board.Config{}), span(0, 100)...)
	got, first := list(t, b, "kind=renat", board.Page{Limit: 3})
	if !slices.Equal(got, []int{98, 96, 94}) || first.Total != 50 {
		t.Fatalf("got %v of %d", got, first.Total)
	}
	fill(b, span(100, 120)...)
	got, second := list(t, b, "kind=renat", board.Page{Limit: 3, Cursor: first.Next})
	if !slices.Equal(got, []int{92, 90, 88}) || second.Total != 47 {
		t.Errorf("got %v of %d", got, second.Total)
	}
	if got, l := list(t, b, "kind=renat", board.Page{Limit: 3, Cursor: first.Cursor, Skip: 48}); !slices.Equal(got, []int{2, 0}) || l.Total != 50 || l.Next != "" {
		t.Errorf("got %v, %+v", got, l)
	}
	if got, l := list(t, b, "node=none", board.Page{Limit: 3}); got != nil || l.Total != 0 || l.Cursor != "" {
		t.Errorf("got %v, %+v", got, l)
	}
	if got, _ := list(t, b, "since=2026-11-22T22:00:10Z&until=2026-11-22T22:00:12Z", board.Page{Limit: 9}); !slices.Equal(got, []int{12, 11, 10}) {
		t.Errorf("got %v", got)
	}
	for _, cursor := range []string{"x", "!", "eA"} {
		if _, err := b.Incidents(t.Context(), &filter.Filter{}, board.Page{Cursor: cursor}); !errors.Is(err, board.ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

// A hub's board asks the stream for what it does not hold.
func TestWhole(t *testing.T) {
	gone := errors.New("away")
	b := fill(board.New(board.Config{Whole: func(_ context.Context, sequence uint64) (*incident.Incident, error) {
		switch sequence {
		case 1:
			return sample(1), nil
		case 2:
			return sample(22), nil // of another stream
		}
		return nil, gone
	}}), 1, 2, 3)
	if i, err := b.Incident(t.Context(), sample(1).ID); err != nil || len(i.Evidence) != 1 {
		t.Errorf("got %+v, %v", i, err)
	}
	if i, err := b.Incident(t.Context(), sample(2).ID); !errors.Is(err, board.ErrGone) || i != nil {
		t.Errorf("got %v, %v", i, err)
	}
	if i, err := b.Incident(t.Context(), sample(3).ID); !errors.Is(err, gone) || i == nil || i.ID != sample(3).ID || len(i.Evidence) != 0 {
		t.Errorf("what is known while NATS is away: %+v, %v", i, err)
	}
}

// What somebody publishes with texts of any length does not fill the memory.
func TestBriefIsBounded(t *testing.T) {
	b := board.New(board.Config{Whole: func(context.Context, uint64) (*incident.Incident, error) { return nil, nil }})
	i := sample(0)
	i.Node, i.NAT.Before = strings.Repeat("ü", 1000), strings.Repeat("x", 1000)
	i.Destination.Names = slices.Repeat([]string{strings.Repeat("y", 1000)}, 100)
	b.Add(i, 1)
	_, l := list(t, b, "", board.Page{Limit: 1})
	got := l.Incidents[0]
	if len(got.Node) > 256 || !strings.HasSuffix(got.Node, "ü") || len(got.NAT.Before) > 256 || len(got.Destination.Names) > 8 || len(got.Destination.Names[0]) > 256 {
		t.Errorf("got %d, %d, %d", len(got.Node), len(got.NAT.Before), len(got.Destination.Names))
	}
}

func TestSummary(t *testing.T) {
	b := fill(board.New(board.Config{}), span(0, 60)...)
	b.SetStatus(nodestatus.Status{Node: "node-1"}, epoch)
	s := summary(t, b, parse(t, ""), 2, epoch.Add(10*time.Minute))
	if s.Total != 60 || s.Held != 60 || s.Kinds[incident.Renat] != 30 || s.Outcomes[incident.Reset] != 30 || s.Causes[incident.LRUEviction] != 60 {
		t.Errorf("got %+v", s)
	}
	if s.Step != 10 || len(s.Buckets) != 61 || s.Buckets[0] != (board.Bucket{Time: epoch, Renat: 5, OrphanedReply: 5}) || s.Buckets[6].Renat != 0 {
		t.Errorf("buckets of %d s: %+v", s.Step, s.Buckets)
	}
	if want := []board.Count{{Name: "node-0", Count: 20}, {Name: "node-1", Count: 20}, {Name: "node-2", Count: 20}}; !slices.Equal(s.Nodes, want) {
		t.Errorf("nodes %+v", s.Nodes)
	}
	if want := []string{"node-0", "node-2"}; !slices.Equal(s.Untold, want) {
		t.Errorf("of %v no status is known, not of %v", s.Untold, want)
	}
	if s.Workloads[0] != (board.Count{Name: "shop/Deployment/cart", Count: 60}) || s.Destinations[0] != (board.Count{Name: "api.example.com:443", Count: 60}) {
		t.Errorf("got %+v, %+v", s.Workloads, s.Destinations)
	}
	if len(s.Groups) != 2 || s.MoreGroups != 4 || s.Groups[0].Count != 10 || s.Groups[0].Incident != sample(59).ID || !s.Groups[0].Last.Equal(sample(59).Time) {
		t.Errorf("groups %+v and %d", s.Groups, s.MoreGroups)
	}
	s = summary(t, b, parse(t, "since=2026-11-22T21:30:00Z&until=2026-11-22T22:00:30Z&kind=renat"), 0, epoch)
	if s.Total != 16 || s.Step != 60 || len(s.Buckets) != 31 || s.Buckets[30].Renat != 16 {
		t.Errorf("got %d, %d s, %+v", s.Total, s.Step, s.Buckets)
	}
	// A node's clock is ahead, and a board is empty.
	if s = summary(t, b, parse(t, ""), 0, epoch.Add(-time.Hour)); s.Buckets[len(s.Buckets)-1].OrphanedReply == 0 {
		t.Errorf("got %+v", s.Buckets)
	}
	if s = summary(t, board.New(board.Config{}), parse(t, ""), 9, epoch); s.Total != 0 || len(s.Buckets) != 1 || !s.Newest.IsZero() {
		t.Errorf("got %+v", s)
	}
	fill(b, -1_000_000_000) // thirty years before
	if s = summary(t, b, parse(t, ""), 0, epoch); len(s.Buckets) > 62 || s.Total != 61 {
		t.Errorf("%d buckets", len(s.Buckets))
	}
}

// The plan is that of sizing for what the agents told that are still there.
func TestPlan(t *testing.T) {
	b := board.New(board.Config{})
	full := func(name string) nodestatus.Status {
		return nodestatus.Status{
			Node: name, Time: epoch, Machine: nodestatus.Machine{CPUs: 4, MemoryBytes: 16 << 30},
			Maps: []nodestatus.Map{
				{Name: "cilium_snat_v4_external", MaxEntries: 131072, Inserts: 1000, Evictions: 9, LastMinute: nodestatus.Rates{Inserts: 100}},
				{Name: "cilium_ct4_global", CT: true, MaxEntries: 131072, Evictions: 9},
			},
		}
	}
	here, gone := full("node-a"), full("node-b")
	b.SetStatus(gone, epoch.Add(-board.SilentAfter))
	b.SetStatus(here, epoch)
	got := b.Plan(epoch.Add(time.Second))
	want := sizing.NewPlan(here.Measured(nil), nil)
	want.Unmeasured = []string{"node-b"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(got.Nodes) != 1 || got.Nodes[0].Verdict != sizing.Grow || len(got.Values) == 0 || got.Values[0].Path != "bpf.natMax" {
		t.Errorf("a map that evicts: %+v", got)
	}
}
