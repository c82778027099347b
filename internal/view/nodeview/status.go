// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// Status shows whether renat itself is in order: agents, NATS, hubs.
type Status struct {
	output string
	// Hubs are asked beside the agents.
	Hubs *fleet.Agents
	// GuessedAgents and GuessedHubs are those that nobody named: where the
	// others answer, these need not exist.
	GuessedAgents, GuessedHubs bool
}

// Register makes flags of the options.
func (o *Status) Register(cmd *cobra.Command) {
	registerOutput(cmd, &o.output, "text", outJSON, outYAML)
}

// health is what Status shows, in JSON and YAML.
type health struct {
	Agents   agentsHealth      `json:"agents"`
	Hubs     []*nodestatus.Hub `json:"hubs"`
	Problems []fleet.Silence   `json:"problems"` // by node, hub or receiver
}

type agentsHealth struct {
	Agents int                      `json:"agents"`
	States map[nodestatus.State]int `json:"states"`
	// How many agents have which.
	Versions map[string]int `json:"versions"`
	Cilium   map[string]int `json:"cilium"`
	Kernels  map[string]int `json:"kernels"`
	Backends map[string]int `json:"backends"`
	// NATS is how many are connected to it, Waiting how many incidents have
	// not arrived there, Lost how many events and incidents they lost.
	NATS    int    `json:"nats"`
	Waiting uint64 `json:"waiting"`
	Lost    uint64 `json:"lost"`
}

// Run asks src and the hubs, and shows what is not in order. If anything is
// not, the error is a usage.FoundError.
func (o *Status) Run(ctx context.Context, src fleet.Source, s *Screen) error {
	if err := checkOutput(o.output, outJSON, outYAML); err != nil {
		return err
	}
	nodes, err := src.Nodes(ctx)
	if err != nil {
		return err
	}
	s.tellUnlisted(nodes.Unlisted)
	hubs, err := o.Hubs.Hubs(ctx)
	if err != nil {
		return err
	}
	if o.GuessedAgents && len(nodes.Statuses) == 0 && len(hubs.Hubs) > 0 {
		nodes.Silent = nil
	}
	if o.GuessedHubs && len(hubs.Hubs) == 0 && len(nodes.Statuses) > 0 {
		hubs.Silent = nil
	}
	h := newHealth(nodes, hubs)
	if o.output == outTable {
		err = h.text(s, time.Now())
	} else {
		err = encode(s.Out, h, o.output)
	}
	if err != nil {
		return err
	}
	if n := len(h.Problems); n > 0 {
		return &usage.FoundError{What: "not in order", Count: n}
	}
	return nil
}

func newHealth(nodes fleet.Nodes, hubs fleet.Hubs) *health {
	h := &health{Hubs: append([]*nodestatus.Hub{}, hubs.Hubs...), Problems: []fleet.Silence{}}
	a := &h.Agents
	a.Agents = len(nodes.Statuses) + len(nodes.Silent)
	a.States = map[nodestatus.State]int{}
	a.Versions, a.Cilium, a.Kernels, a.Backends = map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	if n := len(nodes.Silent); n > 0 {
		a.States[nodestatus.Silent] = n
	}
	for _, silent := range nodes.Silent {
		h.problem(silent.Node, "silent: %s", silent.Why)
	}
	for _, n := range nodes.Statuses {
		a.add(n)
		for _, p := range n.Parts {
			if !p.Ready {
				h.problem(n.Node, "%s: %s is not ready%s", n.State(), p.Name, because(p.Problem))
			}
		}
	}
	for _, silent := range hubs.Silent {
		h.problem("hub "+silent.Node, "silent: %s", silent.Why)
	}
	h.judgeHubs()
	return h
}

func (a *agentsHealth) add(n *nodestatus.Status) {
	a.States[n.State()]++
	if n.Renat != "" {
		a.Versions[n.Renat]++
	}
	if n.Machine.Kernel != "" {
		a.Kernels[n.Machine.Kernel]++
	}
	if n.Hubble.Version != "" {
		a.Cilium[n.Hubble.Version]++
	}
	if n.Kernel.Backend != "" {
		a.Backends[n.Kernel.Backend]++
	}
	if slices.ContainsFunc(n.Parts, func(p nodestatus.Part) bool { return p.Name == nodestatus.PartNATS && p.Ready }) {
		a.NATS++
	}
	a.Waiting += n.Outbox.Waiting
	a.Lost += lost(n)
}

// judgeHubs finds what is wrong with the hubs, and with NATS as they see it.
func (h *health) judgeHubs() {
	notify, active := 0, 0
	for _, hub := range h.Hubs {
		name := "hub " + hub.Name
		if !hub.Ready {
			h.problem(name, "not ready%s", because(hub.Problem))
		}
		if hub.Notifies {
			notify++
		}
		if hub.Active {
			active++
		}
		for _, r := range hub.Receivers {
			switch {
			case r.Circuit != "closed":
				h.problem("receiver "+r.Name, "left alone, its circuit is %s: the log of hub %s says why", r.Circuit, hub.Name)
			case r.Failing:
				h.problem("receiver "+r.Name, "did not take the last notification: the log of hub %s says why", hub.Name)
			}
		}
	}
	if notify > 0 && active == 0 {
		h.problem("hubs", "none is active: nobody is notified")
	}
	nats := h.nats()
	if nats == nil {
		return
	}
	if nats.Problem != "" {
		h.problem("NATS", "%s", nats.Problem)
	}
	for _, s := range nats.Stores {
		if len(s.Away) > 0 {
			h.problem("NATS", "%s: the copy of %s is away or behind, by %d changes at most", s.Name, strings.Join(s.Away, ", "), s.Lag)
		}
	}
	for _, s := range nats.Stores {
		if len(s.OtherSubjects) > 0 {
			h.problem("NATS", "stream %s takes %s, too, and has %d messages of that: while it does, incidents that it drops unread are not counted; move the others to a stream of their own",
				s.Name, strings.Join(s.OtherSubjects, ", "), s.Others)
		}
	}
	if nats.DeadLetters > 0 {
		h.problem("NATS", "could not be delivered: %d; renat hub redeliver sends them again", nats.DeadLetters)
	}
}

// nats is what the first hub that is connected sees; nil: none is.
func (h *health) nats() *nodestatus.NATS {
	for _, hub := range h.Hubs {
		if hub.NATS.Connected {
			return &hub.NATS
		}
	}
	return nil
}

func (h *health) problem(where, what string, args ...any) {
	h.Problems = append(h.Problems, fleet.Silence{Node: where, Why: fmt.Sprintf(what, args...)})
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// text writes it for people.
func (h *health) text(s *Screen, now time.Time) error {
	var b strings.Builder
	h.Agents.text(&b)
	h.natsText(&b)
	h.hubsText(&b, now)
	if len(h.Problems) == 0 {
		b.WriteString("\n" + s.paint(color.FgGreen, "All in order") + "\n")
	} else {
		fmt.Fprintf(&b, "\n%s: %d\n", s.paint(color.FgRed, "Not in order"), len(h.Problems))
		for _, line := range named(h.Problems) {
			b.WriteString("  " + line + "\n")
		}
	}
	_, err := fmt.Fprint(s.Out, b.String())
	return err
}

// line writes a name and what is said of it, aligned.
func line(b *strings.Builder, name, format string, args ...any) {
	fmt.Fprintf(b, "%-20s %s\n", render.Clean(name), render.Clean(fmt.Sprintf(format, args...)))
}

func (a *agentsHealth) text(b *strings.Builder) {
	if a.Agents == 0 {
		line(b, "Agents", "none")
		return
	}
	states := make([]string, 0, len(a.States))
	for i := range nodestatus.States {
		state := nodestatus.States[len(nodestatus.States)-1-i] // the worst first
		if n := a.States[state]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, state))
		}
	}
	line(b, "Agents", "%d: %s", a.Agents, strings.Join(states, ", "))
	for _, c := range []struct {
		name   string
		counts map[string]int
	}{{"version", a.Versions}, {"Cilium", a.Cilium}, {"kernel", a.Kernels}, {"backend", a.Backends}} {
		if len(c.counts) > 0 {
			line(b, "  "+c.name, "%s", counted(c.counts))
		}
	}
	line(b, "  on the way", "%d incidents have not arrived in NATS", a.Waiting)
	line(b, "  lost", "%d events and incidents since the agents started", a.Lost)
}

// counted lists what there is, the most frequent first, and of several, how many.
func counted(counts map[string]int) string {
	names := sorted(counts)
	if len(names) == 1 {
		return names[0]
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%s (%d)", name, counts[name])
	}
	return strings.Join(names, ", ")
}

func (h *health) natsText(b *strings.Builder) {
	agents := fmt.Sprintf("%d of %d agents are connected", h.Agents.NATS, h.Agents.Agents)
	if h.Agents.Agents == 0 {
		agents = "no agent"
	}
	nats := h.nats()
	if nats == nil {
		line(b, "NATS", "%s; no hub that could say more", agents)
		return
	}
	where := "a server alone"
	if nats.Cluster != "" {
		where = "cluster " + nats.Cluster
	}
	line(b, "NATS", "%s, %s; %s", nats.Server, where, agents)
	for _, s := range nats.Stores {
		copies := "1 copy"
		if s.Replicas != 1 {
			copies = fmt.Sprintf("%d copies", s.Replicas)
		}
		line(b, "  "+s.Name, "%d messages, %.1f MiB, %s", s.Messages, mib(s.Bytes), copies)
	}
}

func (h *health) hubsText(b *strings.Builder, now time.Time) {
	if len(h.Hubs) == 0 {
		line(b, "Hubs", "none answered")
		return
	}
	line(b, "Hubs", "%d", len(h.Hubs))
	for _, hub := range h.Hubs {
		does := "stands by"
		switch {
		case hub.Active:
			does = "active"
		case !hub.Notifies:
			does = "only serves the page"
		}
		line(b, "  "+does, "%s, %s", hub.Name, hub.Renat)
		for _, r := range hub.Receivers {
			last := "nothing delivered since it is active"
			if !r.Delivered.IsZero() {
				last = "delivered " + ago(now.Sub(r.Delivered))
			}
			line(b, "    "+r.Name, "%s; %d notifications and %d incidents wait", last, r.Queued, r.Backlog)
		}
	}
}

// ago writes how long ago something was, as kubectl does.
func ago(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}
