// SPDX-License-Identifier: Apache-2.0

package grouping_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub/grouping"
	"github.com/renat-project/renat/sinks/notification"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func sample(workload string, at time.Time) *incident.Incident {
	return &incident.Incident{
		ID: "id", Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset, Time: at, Node: "n", Cluster: "c", Protocol: "TCP",
		Source:      incident.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Namespace: "shop", Workload: workload},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443, Names: []string{"b.example", "a.example"}},
		Map:         incident.Map{MaxEntries: 512},
	}
}

func rule() grouping.Rule {
	return grouping.Rule{
		Receiver: "r", By: grouping.DefaultBy, Wait: 10 * time.Second, Interval: 5 * time.Minute, Repeat: 4 * time.Hour,
		Listed: 3, MaxPending: 1000, MaxGroups: 100,
	}
}

// bench drives a Grouper and delivers what it makes at once.
type bench struct {
	*testing.T
	*grouping.Grouper
	now     time.Time
	seq     uint64
	rev     uint64
	made    []notification.Notification
	acked   []string
	forgot  int
	batches []*grouping.Batch
	keep    bool // batches are not delivered
}

func newBench(t *testing.T, r grouping.Rule) *bench {
	return &bench{T: t, Grouper: grouping.New(r, start), now: start}
}

func (b *bench) add(workloads ...string) {
	b.Helper()
	for _, w := range workloads {
		b.seq++
		if fate, err := b.Add(b.now, b.message(b.seq, w)); fate != grouping.Held || err != nil {
			b.Fatalf("Add = %v, %v", fate, err)
		}
	}
}

func (b *bench) message(seq uint64, workload string) grouping.Message {
	return grouping.Message{Sequence: seq, Ack: fmt.Sprint("ack", seq), Incident: sample(workload, b.now)}
}

// wait lets time pass, from one due time to the next.
func (b *bench) wait(d time.Duration) {
	for end := b.now.Add(d); ; {
		at, ok := b.Next()
		if !ok || at.After(end) {
			b.now = end
			return
		}
		if at.After(b.now) {
			b.now = at
		}
		for w, ok := b.Take(b.now); ok; w, ok = b.Take(b.now) {
			b.acked = append(b.acked, w.Acks...)
			if w.Forget != nil {
				b.forgot++
			}
			if w.Batch == nil {
				continue
			}
			b.made = append(b.made, w.Batch.Notification)
			if b.keep {
				b.batches = append(b.batches, w.Batch)
				continue
			}
			b.rev++
			b.acked = append(b.acked, b.Done(w.Batch, b.rev)...)
		}
	}
}

// want compares what was made since the last call: reason, count, total.
func (b *bench) want(want ...string) {
	b.Helper()
	var got []string
	for _, n := range b.made {
		got = append(got, fmt.Sprintf("%s %d/%d", n.Reason, n.Count, n.Group.Total))
	}
	b.made = nil
	if !slices.Equal(got, want) {
		b.Errorf("notified %q, want %q", got, want)
	}
}

func TestLifeOfAGroup(t *testing.T) {
	b := newBench(t, rule())
	b.add("a", "a")
	b.wait(5 * time.Second)
	b.add("a", "b")
	b.want()
	b.wait(5 * time.Second) // group_wait of a
	b.want("new 3/3")
	b.wait(5 * time.Second) // of b
	b.want("new 1/1")
	b.add("a")
	b.wait(4*time.Minute + 54*time.Second)
	b.want()
	b.wait(time.Second) // group_interval of a
	b.want("update 1/4")
	b.wait(time.Hour)
	b.add("a") // long after: only group_wait
	b.wait(10 * time.Second)
	b.want("update 1/5")
	for range 16 {
		b.wait(15 * time.Minute)
		b.add("a")
	}
	b.wait(time.Minute)
	if n := slices.IndexFunc(b.made, func(n notification.Notification) bool { return n.Reason == notification.Repeat }); n < 5 {
		t.Errorf("repeated as notification %d of %d", n, len(b.made))
	}
	b.made = nil
	b.wait(5 * time.Hour) // quiet for repeat_interval
	if b.Len() != 0 || b.forgot != 2 {
		t.Errorf("%d groups left, %d forgotten", b.Len(), b.forgot)
	}
	b.add("a")
	b.wait(10 * time.Second)
	b.want("new 1/1")
	if uint64(len(b.acked)) != b.seq || b.Held() != 0 {
		t.Errorf("%d of %d acknowledged, %d held", len(b.acked), b.seq, b.Held())
	}
}

func TestContent(t *testing.T) {
	b := newBench(t, rule())
	b.add("Deployment/cart", "Deployment/cart", "Deployment/cart", "Deployment/cart", "Deployment/cart")
	b.wait(time.Minute)
	n := b.made[0]
	if n.Group.Labels["workload"] != "shop/Deployment/cart" || n.Group.Labels["destination"] != "a.example:443" {
		t.Errorf("labels %v", n.Group.Labels)
	}
	if len(n.Incidents) != 3 || n.More != 2 || n.Fetch.First != 1 || n.Fetch.Last != 5 || n.Kinds[incident.Renat] != 5 {
		t.Errorf("%d listed, %d more, fetch %+v, kinds %v", len(n.Incidents), n.More, n.Fetch, n.Kinds)
	}
	if !strings.HasPrefix(n.Verdict.What, "5 connections of shop/Deployment/cart to a.example:443 were broken on node n") {
		t.Error(n.Verdict.What)
	}
}

func TestThreshold(t *testing.T) {
	r := rule()
	r.Threshold, r.Within = 3, time.Minute
	b := newBench(t, r)
	for range 10 { // never three within a minute
		b.add("a")
		b.wait(35 * time.Second)
	}
	b.want()
	if len(b.acked) < 7 || b.Held() > 3 {
		t.Errorf("%d of 10 given up, %d held", len(b.acked), b.Held())
	}
	b.wait(5 * time.Minute)
	if len(b.acked) != 10 || b.Held() != 0 || b.Len() != 0 {
		t.Errorf("%d of 10 given up, %d held, %d groups", len(b.acked), b.Held(), b.Len())
	}
	b.add("a", "a", "b")
	b.wait(30 * time.Second)
	b.add("a")
	b.wait(20 * time.Second)
	b.want("new 3/3")
	b.add("a") // one is enough now
	b.wait(5 * time.Minute)
	b.want("update 1/4")

	// A backlog: the incidents' own time decides, in whatever order they come.
	b = newBench(t, r)
	for n, minutes := range []int{50, 10, 30, 51, 0, 52} {
		m := b.message(uint64(n+1), "a")
		m.Incident.Time = start.Add(-time.Hour).Add(time.Duration(minutes) * 30 * time.Second)
		if _, err := b.Add(b.now, m); err != nil {
			t.Fatal(err)
		}
	}
	b.wait(10 * time.Second)
	b.want("new 6/6")
}

// What comes again while it waits, while it is sent and when it was sent.
func TestAgain(t *testing.T) {
	b := newBench(t, rule())
	b.keep = true
	b.add("a", "a")
	again := b.message(1, "a")
	again.Ack = "later"
	if fate, _ := b.Add(b.now, again); fate != grouping.Held {
		t.Errorf("waiting: %v", fate)
	}
	b.wait(10 * time.Second)
	b.want("new 2/2")
	again.Ack = "latest"
	if fate, _ := b.Add(b.now, again); fate != grouping.Held {
		t.Errorf("being sent: %v", fate)
	}
	if got := b.Done(b.batches[0], 1); !slices.Equal(got, []string{"latest", "ack2"}) {
		t.Errorf("acknowledged %q", got)
	}
	if fate, _ := b.Add(b.now, again); fate != grouping.Known {
		t.Errorf("sent: %v", fate)
	}
	b.wait(time.Hour)
	b.want()
}

func TestRestore(t *testing.T) {
	b := newBench(t, rule())
	b.keep = true
	b.add("a", "a")
	b.wait(10 * time.Second)
	stored, err := json.Marshal(b.batches[0].Before)
	if err != nil {
		t.Fatal(err)
	}
	var s grouping.State
	if err := json.Unmarshal(stored, &s); err != nil {
		t.Fatal(err)
	}
	was := b.made[0]

	// Another hub finds it on its way, and sends the same.
	b = newBench(t, rule())
	batch, ok := b.Restore(s, 7)
	if !ok || batch == nil || batch.Revision != 7 {
		t.Fatal("not restored")
	}
	got, _ := json.Marshal(batch.Notification)
	want, _ := json.Marshal(was)
	if string(got) != string(want) {
		t.Errorf("another notification:\n%s\n%s", got, want)
	}
	b.add("a") // 1 comes again
	b.seq = 9
	b.add("a") // 10 is new
	if acks := b.Done(batch, 8); !slices.Equal(acks, []string{"ack1"}) {
		t.Errorf("acknowledged %q", acks)
	}
	if fate, _ := b.Add(b.now, b.message(2, "a")); fate != grouping.Known {
		t.Errorf("2 came again: %v", fate)
	}
	b.now = start.Add(time.Minute)
	b.wait(5 * time.Minute)
	b.want("update 1/3")

	// The stream was made anew: its sequences are others.
	later := grouping.New(rule(), start.Add(time.Hour))
	batch, _ = later.Restore(s, 7)
	if acks := later.Done(batch, 8); len(acks) != 0 {
		t.Errorf("acknowledged %q", acks)
	}
	if fate, _ := later.Add(b.now, b.message(1, "a")); fate != grouping.Held {
		t.Errorf("1 of the new stream: %v", fate)
	}

	r := rule()
	r.By = []grouping.Label{"pod"}
	if _, ok := grouping.New(r, start).Restore(s, 7); ok {
		t.Error("a group by other labels was restored")
	}
}

func TestBounds(t *testing.T) {
	r := rule()
	r.MaxGroups, r.MaxPending = 10, 100
	b := newBench(t, r)
	for n := range 50 {
		b.add(fmt.Sprint(n))
	}
	if b.Len() != 11 {
		t.Errorf("%d groups", b.Len())
	}
	b.wait(10 * time.Second)
	if len(b.made) != 11 {
		t.Fatalf("%d notifications", len(b.made))
	}
	total, other := 0, 0
	for _, n := range b.made {
		if total += n.Count; n.Group.Labels["node"] == grouping.Other {
			other = n.Count
		}
	}
	if total != 50 || other != 40 {
		t.Errorf("%d incidents, %d of other groups", total, other)
	}
	b.made = nil
	for range 80 { // four fifths: in a hurry
		b.add("0")
	}
	b.wait(10 * time.Second)
	b.want("update 80/81")
}

func TestHostileIncidentIsSmallAndPlain(t *testing.T) {
	b := newBench(t, rule())
	evil := strings.Repeat("x\r\n\x00\u202e<!channel>{{.}}\xff", 50_000)
	m := b.message(1, evil)
	i := m.Incident
	i.ID, i.Node, i.Kind, i.Cause, i.Outcome = evil, evil, incident.Kind(evil), incident.Cause(evil), incident.Outcome(evil)
	i.Source.Labels = slices.Repeat([]string{evil}, 50)
	i.Evidence = slices.Repeat([]incident.Evidence{{What: evil, From: incident.Source(evil)}}, 100)
	if _, err := b.Add(b.now, m); err != nil {
		t.Fatal(err)
	}
	b.wait(time.Minute)
	out, err := json.Marshal(b.made[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(out) > 32<<10 {
		t.Errorf("%d bytes", len(out))
	}
	if s := string(out); strings.Contains(s, `\r`) || strings.Contains(s, `\u0000`) || strings.Contains(s, "\u202e") {
		t.Error("control characters are left")
	}
	if b.made[0].Kinds["unknown"] != 1 {
		t.Errorf("kinds %v", b.made[0].Kinds)
	}
}

func TestMatchers(t *testing.T) {
	i := sample("Deployment/cart", start)
	for s, want := range map[string]bool{
		`cluster="c"`: true, `cluster=c`: true, `cluster="d"`: false, `cluster!="d"`: true, `node  =~  "n|m"`: true, `node=~"nn"`: false,
		`workload!~"shop/.*"`: false, `destination="a.example:443"`: true, `protocol=~"(?i)tcp"`: true, `pod=""`: true, `kind=renat`: true,
	} {
		m, err := grouping.ParseMatcher(s)
		if err != nil || m.Matches(i) != want {
			t.Errorf("%s: %v, want %v; %v", s, m.Matches(i), want, err)
		}
	}
	for _, s := range []string{"", "cluster", "colour=red", `cluster="x`, `cluster=~"("`, "cluster==c=~"} {
		if m, err := grouping.ParseMatcher(s); err == nil && s != "cluster==c=~" {
			t.Errorf("%q is accepted: %+v", s, m)
		}
	}
}

func TestSequences(t *testing.T) {
	for _, want := range []grouping.Sequences{nil, {1}, {1, 2, 3, 1000, 1 << 63}} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got grouping.Sequences
		if err := json.Unmarshal(b, &got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v became %v, %v", want, got, err)
		}
	}
}

// A refresh says what the last notification said: it takes its place.
func TestRefreshRepeatsTheVerdict(t *testing.T) {
	r := rule()
	r.Refresh = time.Minute
	b := newBench(t, r)
	b.add("w")
	b.wait(2 * time.Minute)
	if len(b.made) != 2 || b.made[1].Reason != notification.Refresh {
		t.Fatalf("made %+v", b.made)
	}
	if b.made[0].Verdict.Action == "" || b.made[1].Verdict != b.made[0].Verdict || b.made[1].Group.Incident != "id" {
		t.Errorf("first %+v, then %+v", b.made[0].Verdict, b.made[1])
	}
}
