// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"fmt"
	"strings"
	"time"
)

// Verdict is what to do about a map.
type Verdict string

// The verdicts, the worst last.
const (
	Enough  Verdict = "enough"  // the map holds what was measured
	Unknown Verdict = "unknown" // too little was measured
	Tight   Verdict = "tight"   // nothing was evicted, but the headroom is gone
	Ports   Verdict = "ports"   // source ports run out, which no map size changes
	Restart Verdict = "restart" // it evicts or is tight, and the size that is set is enough but not in force
	Grow    Verdict = "grow"    // it evicts, a larger map ends that
)

// portsShort is the share of inserts that fail because the port is taken from
// which on ports, not entries, are what is short: half of the ports that are
// tried are in use then.
const portsShort = 1.0

// Node is one node's NAT map and what it is on.
type Node struct {
	Name        string
	Map         string
	IPv6        bool
	MaxEntries  int // of the map now
	CTTCP       int // of the connection tracking maps now; 0: not known
	CTAny       int
	Distributed bool
	CPUs        int    // possible ones
	Memory      uint64 // bytes
	Cilium      string // version of the agent, "" if unknown
	Measured
	// Collisions are inserts that failed because a port was taken, for each
	// insert that worked.
	Collisions float64
	Incidents  uint64

	own *Settings // under which its agent starts, if they are not the cluster's
}

// Advice is what to do about one map.
type Advice struct {
	Node    string  `json:"node"`
	Map     string  `json:"map"`
	Verdict Verdict `json:"verdict"`
	Current int     `json:"current_entries"`
	// Entries that are enough, headroom included; 0 with Unknown.
	Entries int `json:"entries,omitempty"`
	// Half of Entries might do: connections are not silent long enough to be
	// evicted. It is no advice: the map would evict all the time.
	HalfMightDo bool     `json:"half_might_do,omitempty"`
	Reasons     []string `json:"reasons"`
	Steps       []string `json:"steps,omitempty"` // the arithmetic
}

// Advise judges one map under the cluster's settings.
func Advise(n Node, s Settings) Advice {
	c := cluster{Settings: s, known: true}
	_, most := c.after(n, change{})
	return c.advise(n, most)
}

// advise judges one map; z are the sizes of the node's maps from now on.
func (c *cluster) advise(n Node, z Sizes) Advice {
	n.CPUs = max(n.CPUs, 1)
	a := Advice{Node: n.Name, Map: n.Map, Current: n.MaxEntries}
	if n.Inserts == 0 && n.Peak == 0 {
		a.Verdict = Unknown
		a.say("nothing has been measured yet")
		return a
	}
	s := c.of(n)
	d := s.demandOf(n.Measured, n.MaxEntries, z)
	a.Entries = d.size(n.CPUs, c.distributed(n))
	a.Steps = d.steps
	a.judge(n, &d)
	a.half(n, s.GCInterval, &d)
	return a
}

// settle says so if what is set is enough, and not in force.
func (a *Advice) settle(n Node, set Sizes) {
	if a.Needs() && set.NAT > n.MaxEntries && set.NAT >= a.Entries {
		a.Verdict = Restart
		a.Reasons = append([]string{fmt.Sprintf("%s would be enough, but its map has %d entries", set.Knob, n.MaxEntries)}, a.Reasons...)
	}
}

// Needs reports whether the map there is, is too small.
func (a *Advice) Needs() bool {
	return a.Verdict == Grow || a.Verdict == Tight || a.Verdict == Restart
}

// judge compares what is enough with what there is.
func (a *Advice) judge(n Node, d *demand) {
	switch {
	case n.Collisions >= portsShort && !n.Evicting:
		a.Verdict = Ports
		a.say("for each new entry %.1f source ports were tried that are in use: ports run out, a larger map does not help", n.Collisions)
		a.say("spread the connections: more destinations or SNAT addresses (egress gateway), or fewer connections at once to one destination")
	case n.Evicting:
		a.Verdict = Grow
		a.say("the map of %d entries evicts to make room", n.MaxEntries)
		if d.guessed != "" {
			a.say("%s: the size is on the safe side", d.guessed)
		}
		if n.Collisions >= portsShort {
			a.say("source ports run short, too: for each new entry %.1f were tried that are in use, and no larger map ends that", n.Collisions)
		}
		if a.Entries <= n.MaxEntries {
			a.Entries = roundUp(2 * float64(n.MaxEntries))
			a.say("by what was measured it would be large enough: bursts are shorter than the measurement, or entries are left that Cilium does not collect; twice the size")
			a.Steps = append(a.Steps, fmt.Sprintf("%d: that is no more than the map has, and it evicts; twice the map's size", a.Entries))
		}
	case n.Peak == 0:
		a.Verdict = Enough
		a.say("nothing was evicted; this kernel does not count entries (Linux 6.8 does), so how close it came is not known")
		a.Entries = n.MaxEntries
	case a.Entries > n.MaxEntries:
		a.Verdict = Tight
		a.say("nothing was evicted, but at its fullest the map had less than %.0f %% to spare", 100*headroom)
	default:
		a.Verdict = Enough
		a.say("at its fullest the map held %.0f of %d entries", n.Peak, n.MaxEntries)
	}
	if n.Incidents > 0 && !n.Evicting {
		a.say("the incidents of this node have another cause than eviction: see kubectl renat incidents")
	}
	if a.Verdict == Grow && n.Cilium != "" && !atLeast(n.Cilium, 1, 18) {
		a.say("%s does not restore half-evicted connections (1.18 does, which helps some): a map that evicts less often still breaks connections, only one that never evicts does not", "Cilium "+strings.TrimPrefix(n.Cilium, "cilium "))
	}
}

// half tells what a map of half the size would do.
func (a *Advice) half(n Node, collected time.Duration, d *demand) {
	if !a.Needs() || d.inserts == 0 {
		return
	}
	half := a.Entries / 2
	if float64(half) >= d.entries {
		a.HalfMightDo = true
		a.say("half of it would hold the measured demand, without headroom")
		return
	}
	longest := d.outlives(half, collected)
	switch {
	case longest == 0:
		return
	case n.Gap > longest:
		a.say("half of it breaks connections that are silent for %v, as some were", n.Gap.Round(time.Second))
	default:
		a.HalfMightDo = true
		a.say("half of it evicts again and again: connections silent for %v break, others may", longest)
	}
}

func (a *Advice) say(format string, args ...any) {
	a.Reasons = append(a.Reasons, fmt.Sprintf(format, args...))
}
