// SPDX-License-Identifier: Apache-2.0

package board_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/board"
)

// next returns the next event, which must wait already.
func next(t *testing.T, s *board.Subscription) board.Event {
	t.Helper()
	select {
	case e, ok := <-s.Events:
		if !ok {
			t.Fatal("dropped")
		}
		return e
	default:
		t.Fatal("no event")
	}
	return board.Event{}
}

func TestSubscribeAndResume(t *testing.T) {
	b := fill(board.New(board.Config{}), span(0, 10)...)
	s := b.Subscribe("")
	begin := next(t, s)
	if begin.Problem == nil || *begin.Problem != (board.Problem{}) || begin.ID == "" {
		t.Fatalf("began with %+v", begin)
	}
	if missed := b.Subscribe(begin.ID); len(missed.Events) != 1 {
		t.Errorf("%d events although nothing happened", len(missed.Events))
	}
	fill(b, 10, 10, 11)
	if missed := b.Subscribe(begin.ID); len(missed.Events) != 3 {
		t.Errorf("%d events, want the problem and two incidents", len(missed.Events))
	}
	first, second := next(t, s), next(t, s)
	if first.Incident.ID != sample(10).ID || second.Incident.ID != sample(11).ID || len(first.Incident.Evidence) != 0 {
		t.Errorf("got %+v, %+v", first, second)
	}
	b.SetProblem("NATS is away", epoch)
	b.SetProblem("NATS is away", epoch)
	if e := next(t, s); e.Problem == nil || e.Problem.Text != "NATS is away" || len(s.Events) != 0 {
		t.Errorf("got %+v", e)
	}
	s.Close()
	s.Close()
	if _, open := <-s.Events; open {
		t.Error("open after Close")
	}
	fill(b, 12)
	s = b.Subscribe(first.ID)
	if e := next(t, s); e.Problem.Text != "NATS is away" {
		t.Errorf("got %+v", e)
	}
	if e := next(t, s); e.ID != second.ID || e.Incident.ID != sample(11).ID {
		t.Errorf("got %+v", e)
	}
	if e := next(t, s); e.Incident.ID != sample(12).ID || len(s.Events) != 0 {
		t.Errorf("got %+v", e)
	}
	b.Loaded()
	if e := next(t, s); !e.Restart {
		t.Errorf("got %+v", e)
	}
	for _, id := range []string{first.ID, "x", "x-1", second.ID + "000"} {
		s := b.Subscribe(id)
		next(t, s)
		if e := next(t, s); !e.Restart {
			t.Errorf("resumed after %q with %+v", id, e)
		}
	}
}

func TestSlowListenerIsDropped(t *testing.T) {
	b := board.New(board.Config{})
	slow, quick := b.Subscribe(""), b.Subscribe("")
	next(t, quick)
	for n := range 2000 {
		fill(b, n)
		next(t, quick)
	}
	got := 0
	for range slow.Events { // ends, because it was closed
		got++
	}
	if got == 0 || got == 2001 {
		t.Errorf("the slow one got %d", got)
	}
}

func TestNodes(t *testing.T) {
	b := board.New(board.Config{})
	s := b.Subscribe("")
	next(t, s)
	now := time.Now()
	status := nodestatus.Status{Node: "node-b", Cluster: "prod", Time: now, Parts: []nodestatus.Part{{Name: nodestatus.PartNATS}}, Maps: []nodestatus.Map{
		{Name: "nat", LastMinute: nodestatus.Rates{Evictions: 2.5}, LastTenMinutes: nodestatus.Rates{Evictions: 1}},
		{Name: "ct", CT: true, LastMinute: nodestatus.Rates{Evictions: 100}},
	}}
	b.SetStatus(status, now)
	if e := next(t, s); e.Node == nil || e.Node.State != nodestatus.Degraded || e.Node.Ready {
		t.Errorf("got %+v", e)
	}
	b.SetStatus(status, now.Add(time.Minute)) // as it is stored, read again
	b.SetStatus(nodestatus.Status{Node: "node-a", Cluster: "prod", Time: now}, now)
	next(t, s)
	nodes := b.Nodes(now)
	if len(nodes) != 2 || nodes[0].Status.Node != "node-a" || nodes[0].State != nodestatus.OK || !nodes[1].Heard.Equal(now) {
		t.Fatalf("got %+v", nodes)
	}
	history := nodes[1].Evictions
	if len(history) != board.History || history[board.History-1] == nil || *history[board.History-1] != 2.5 || history[0] != nil {
		t.Errorf("history %v", history)
	}
	later := b.Nodes(now.Add(10 * time.Minute))
	if later[0].State != nodestatus.Silent || later[1].Evictions[board.History-11] == nil || later[1].Evictions[board.History-1] != nil {
		t.Errorf("later %+v", later)
	}
	if left := b.Nodes(now.Add(2 * time.Hour)); len(left) != 0 {
		t.Errorf("not forgotten: %+v", left)
	}
}

// A node whose clock was an hour ahead is shown as it tells now, and is silent
// when nothing comes, whatever its clock said.
func TestNodeWithAWrongClock(t *testing.T) {
	b := board.New(board.Config{})
	now := time.Now()
	b.SetStatus(nodestatus.Status{Node: "node-a", Time: now.Add(time.Hour)}, now)
	b.SetStatus(nodestatus.Status{Node: "node-a", Time: now, Parts: []nodestatus.Part{{Name: nodestatus.PartKernel}}}, now.Add(10*time.Second))
	if n := b.Nodes(now.Add(11 * time.Second)); len(n) != 1 || n[0].State != nodestatus.Blind || n[0].Ready {
		t.Errorf("right again: %+v", n)
	}
	b.SetStatus(nodestatus.Status{Node: "node-a", Time: now.Add(time.Hour)}, now.Add(20*time.Second))
	if n := b.Nodes(now.Add(time.Minute + 20*time.Second)); n[0].State != nodestatus.Silent {
		t.Errorf("after a minute: %+v", n)
	}
}

// Nodes that are gone are forgotten also where nobody asks.
func TestGoneNodesAreForgotten(t *testing.T) {
	b := board.New(board.Config{})
	s := b.Subscribe("")
	defer s.Close()
	now := time.Now()
	for n := range 1000 {
		b.SetStatus(nodestatus.Status{Node: "node-" + strconv.Itoa(n)}, now.Add(time.Duration(n)*time.Minute))
	}
	if n := b.Nodes(now); len(n) > 61 {
		t.Errorf("%d nodes are held, of one a minute for an hour", len(n))
	}
}

// Until when all is known, whatever has been wrong since.
func TestProblemSince(t *testing.T) {
	b := board.New(board.Config{})
	for n, step := range []struct {
		text string
		want time.Time
	}{
		{"still reading", time.Time{}}, {"NATS is away", time.Time{}}, {"", time.Time{}},
		{"NATS is away", epoch.Add(3 * time.Minute)}, {"still reading", epoch.Add(3 * time.Minute)}, {"", time.Time{}},
	} {
		b.SetProblem(step.text, epoch.Add(time.Duration(n)*time.Minute))
		if got := b.Problem(); got != (board.Problem{Text: step.text, Since: step.want}) {
			t.Errorf("step %d: %+v", n, got)
		}
		if n == 1 {
			b.Loaded()
		}
	}
}

// The worst nodes come first, and what all are together is told however few are
// listed.
func TestWorst(t *testing.T) {
	b := board.New(board.Config{})
	now := time.Unix(1e9, 0)
	status := func(cluster, name string, evictions float64, parts ...nodestatus.Part) nodestatus.Status {
		return nodestatus.Status{Node: name, Cluster: cluster, Time: now, Parts: parts, Maps: []nodestatus.Map{
			{Name: "nat", LastMinute: nodestatus.Rates{Evictions: evictions}, LastTenMinutes: nodestatus.Rates{Evictions: evictions}},
			{Name: "ct", CT: true, LastMinute: nodestatus.Rates{Evictions: 1000}},
		}}
	}
	b.SetStatus(status("prod", "node-a", 0), now)
	b.SetStatus(status("prod", "node-b", 2), now)
	b.SetStatus(status("test", "node-a", 3), now)
	b.SetStatus(status("test", "node-c", 0, nodestatus.Part{Name: nodestatus.PartKernel}), now)
	worst, all := b.Worst(now, 3)
	var names []string
	for _, n := range worst {
		names = append(names, n.Status.Cluster+"/"+n.Status.Node)
	}
	if want := []string{"test/node-c", "test/node-a", "prod/node-b"}; !slices.Equal(names, want) {
		t.Errorf("the worst are %v, not %v", names, want)
	}
	if all.Total != 4 || all.Clusters != 2 || all.States[nodestatus.Blind] != 1 || all.States[nodestatus.Evicting] != 2 || all.States[nodestatus.OK] != 1 {
		t.Errorf("together %+v", all)
	}
	if sum := all.Evictions[board.History-1]; sum == nil || *sum != 5 || all.Evictions[0] != nil {
		t.Errorf("together they evict %v", all.Evictions)
	}
	if worst, all = b.Worst(now.Add(time.Minute), 10); len(worst) != 4 || all.States[nodestatus.Silent] != 4 {
		t.Errorf("later %d are %+v", len(worst), all)
	}
}
