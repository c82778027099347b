// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/view/render"
)

// tally counts incidents by what they are.
type tally struct {
	total, reset int
	kinds        map[incident.Kind]int
	causes       map[incident.Cause]int
}

func (t *tally) add(i *incident.Incident) {
	if t.causes == nil {
		t.causes, t.kinds = map[incident.Cause]int{}, map[incident.Kind]int{}
	}
	t.total++
	t.causes[i.Cause]++
	t.kinds[i.Kind]++
	if i.Outcome == incident.Reset {
		t.reset++
	}
}

// summarise writes what came of a replay to the log's side.
func (r *replay) summarise() {
	s, t, c := r.stats, &r.tally, r.publisher.Counts()
	others := ""
	for _, kind := range incident.Kinds {
		if n := t.kinds[kind.Name]; n > 0 && kind.Name != incident.Renat && kind.Name != incident.OrphanedReply {
			others += fmt.Sprintf(", %d %s", n, kind.Name)
		}
	}
	fmt.Fprintf(r.err, "\n%d broken connections: %d re-NATted, %d orphaned replies%s; %d seen reset\n",
		t.total, t.kinds[incident.Renat], t.kinds[incident.OrphanedReply], others, t.reset)
	var causes []string
	for _, cause := range incident.Causes {
		if n := t.causes[cause.Name]; n > 0 {
			causes = append(causes, fmt.Sprintf("%d %s", n, cause.Name))
		}
	}
	if len(causes) > 0 {
		fmt.Fprintf(r.err, "causes: %s\n", strings.Join(causes, ", "))
	}
	fmt.Fprintf(r.err, "from %d flows and %d map operations in %v; %d suspects were harmless\n",
		s.Flows, s.NATChanges, time.Since(r.started).Round(time.Millisecond), s.Harmless)
	fmt.Fprintf(r.err, "JetStream: %d stored, %d there before, %d failed\n", c.Stored, c.Duplicates, c.Failed)
	if lost := lossSummary(&s, r.bad.Count); lost != "" {
		fmt.Fprintf(r.err, "lost: %s\n", lost)
	}
}

func lossSummary(s *correlator.Stats, badLines int) string {
	var parts []string
	add := func(n uint64, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(uint64(badLines), "unreadable lines")
	for from, n := range s.Lost {
		add(n, correlator.LossSource(from).String())
	}
	add(s.HubbleUnseen, "connections opened that Hubble did not show")
	add(s.Late, "events later than the settle time")
	add(s.Early, "events released early")
	add(s.ConnectionsForgotten, "connections forgotten (--max-connections)")
	add(s.SuspectsForgotten, "verdicts before their time")
	add(s.Undecided, "suspects too young for a verdict at the end")
	return strings.Join(parts, ", ")
}

// progressAfter is how long a replay may take before it shows its progress.
const progressAfter = time.Second

// showProgress draws a bar on the log's side when that is a terminal and the
// replay is long. The caller calls stop, which removes it.
func (r *replay) showProgress() (stop func()) {
	if !render.IsTerminal(r.err) {
		return func() {}
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-done:
			return
		case <-time.After(progressAfter):
		}
		_, size := r.rec.Progress()
		bar := progressbar.NewOptions64(size,
			progressbar.OptionSetWriter(r.err), progressbar.OptionSetDescription("replaying"),
			progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish())
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				bar.Clear() //nolint:errcheck // cosmetic
				return
			case <-tick.C:
				read, _ := r.rec.Progress()
				bar.Set64(read) //nolint:errcheck // cosmetic
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}
