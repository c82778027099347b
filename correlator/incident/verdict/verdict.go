// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// Facts are what is known of the incidents of one group.
type Facts struct {
	// Kinds, Causes and Outcomes count the incidents by what they are.
	Kinds    map[incident.Kind]int
	Causes   map[incident.Cause]int
	Outcomes map[incident.Outcome]int
	// DeletedBy is a process that deleted entries, if one did.
	DeletedBy string
	// Source, Destination and Node name the sides in words; each may be empty.
	Source, Destination, Node string
	// MaxEntries is the size of the smallest NAT map among them; 0: not known.
	MaxEntries uint32
	// EvictionsPerSecond is the highest rate among them; 0: not known.
	EvictionsPerSecond float64
}

// Verdict is what a person needs to know beyond the facts. A sentence that
// does not apply is empty.
type Verdict struct {
	// What happened, in one sentence.
	What string `json:"what"`
	// Restore says whether Cilium's repair of half-evicted entries could have helped.
	Restore string `json:"restore,omitempty"`
	// Size says how large the NAT map must be.
	Size string `json:"size,omitempty"`
	// Entries is the size advised; 0: none is.
	Entries uint32 `json:"entries,omitempty"`
	// Option is the Cilium option to set, and its Helm value.
	Option string `json:"option,omitempty"`
	// SideEffect is what setting it does.
	SideEffect string `json:"side_effect,omitempty"`
}

const (
	// maxEntries is Cilium's limit for bpf-nat-global-max
	// (cilium pkg/option/config.go, LimitTableMax).
	maxEntries = 1 << 24
	// defaultCT is what Cilium's two connection tracking maps hold by default
	// (bpf-ct-global-tcp-max and bpf-ct-global-any-max); the NAT map may not
	// be larger than both together.
	defaultCT = 524288 + 262144
	// Idle is how long a silent connection is to be kept.
	Idle = 5 * time.Minute
)

// Of returns the verdict on f.
func Of(f Facts) Verdict {
	v := Verdict{What: what(f), Restore: restore(f)}
	if f.Causes[incident.LRUEviction] > 0 || f.Causes[incident.UnknownCause] > 0 {
		v.size(f)
	} else if n := f.Causes[incident.UserspaceDelete]; n > 0 {
		v.Size = "A larger NAT map does not help: " + deleter(f) + " deleted the entries of connections that were alive."
	}
	return v
}

func deleter(f Facts) string {
	if f.DeletedBy == "" {
		return "a process on the node"
	}
	return f.DeletedBy
}

func what(f Facts) string {
	total := 0
	for _, n := range f.Kinds {
		total += n
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", total, plural(total, "connection", "connections"))
	if f.Source != "" {
		b.WriteString(" of " + f.Source)
	}
	if f.Destination != "" {
		b.WriteString(" to " + f.Destination)
	}
	b.WriteString(" " + plural(total, "was", "were") + " broken")
	if f.Node != "" {
		b.WriteString(" on node " + f.Node)
	}
	b.WriteString(": " + why(f, plural(total, "its entry", "their entries")))
	renat, orphaned := f.Kinds[incident.Renat], f.Kinds[incident.OrphanedReply]
	switch {
	case renat > 0 && orphaned > 0:
		fmt.Fprintf(&b, "; %d got another source port, of %d the server's packets found no entry", renat, orphaned)
	case renat > 0:
		b.WriteString("; the next packet got another source port, and the server does not know it")
	case orphaned > 0:
		b.WriteString("; the server's next packet found no entry, and the node reset it")
	}
	b.WriteString(".")
	return b.String()
}

// why says what became of the entries, which entries names.
func why(f Facts, entries string) string {
	evicted, deleted := f.Causes[incident.LRUEviction], f.Causes[incident.UserspaceDelete]
	datapath, unknown := f.Causes[incident.DatapathDelete], f.Causes[incident.UnknownCause]
	var parts []string
	add := func(n int, s string) {
		if n > 0 {
			parts = append(parts, s)
		}
	}
	add(evicted, "the full NAT map evicted "+entries)
	add(deleted, deleter(f)+" deleted "+entries+" from the NAT map")
	add(datapath, "the datapath deleted "+entries+" from the NAT map")
	add(unknown, entries+" vanished from the NAT map, how was not seen")
	if len(parts) == 0 {
		return entries + " went from the NAT map"
	}
	return strings.Join(parts, ", or ")
}

// restore: Cilium rebuilds an entry from its twin, in one direction each
// (1.18.0: a reply that finds IN rebuilds OUT; 1.17.0: a pod's packet that
// finds OUT rebuilds IN). Both kinds of incident are the other order.
func restore(f Facts) string {
	renat := "Cilium's restore (1.18 and later) could not help: it rebuilds the entry when the server sends first, and here the pod did."
	orphaned := "Cilium's restore (1.17 and later) could not help: it rebuilds the entry when the pod sends first while its other entry is left, and here the server sent first."
	switch r, o := f.Kinds[incident.Renat], f.Kinds[incident.OrphanedReply]; {
	case r > 0 && o > 0:
		return "Cilium's restore could not help: it needs the server to send first where here the pod did (1.18 and later), and the pod where here the server did (1.17 and later)."
	case r > 0:
		return renat
	case o > 0:
		return orphaned
	}
	return ""
}

// size advises the map's size. With E evictions a second, an entry nobody uses
// stays M/2E to M/E seconds in a map of M entries; so a connection that is
// silent for Idle needs M ≥ 2·E·Idle. At least the double is advised. It is a
// guess from what an incident tells, and says so: internal/sizing has the law.
func (v *Verdict) size(f Facts) {
	if f.MaxEntries == 0 {
		v.Size = "The size of the NAT map is not known here; double it, and watch the evictions."
		v.Option = "Set bpf-nat-global-max (Helm: bpf.natMax)."
		v.SideEffect = sideEffect
		return
	}
	if f.MaxEntries >= maxEntries {
		v.Size = fmt.Sprintf("The NAT map has %d entries, the most Cilium allows: spread the connections over more nodes, or over egress gateways.", f.MaxEntries)
		return
	}
	need := max(2*float64(f.MaxEntries), 2*f.EvictionsPerSecond*Idle.Seconds())
	v.Entries = roundUp(need)
	if f.EvictionsPerSecond > 0 {
		keeps := float64(f.MaxEntries) / f.EvictionsPerSecond
		v.Size = fmt.Sprintf("The NAT map has %d entries and evicts %.0f a second, so it forgets a connection after %s to %s of silence. "+
			"To keep one for %s it needs about %d entries, %.0f times as many.",
			f.MaxEntries, f.EvictionsPerSecond, span(keeps/2), span(keeps), span(Idle.Seconds()), v.Entries, float64(v.Entries)/float64(f.MaxEntries))
	} else {
		v.Size = fmt.Sprintf("The NAT map has %d entries; begin with %d, and watch the evictions.", f.MaxEntries, v.Entries)
	}
	v.Size += " This is a first guess from one incident; kubectl renat advise works the size out from what the node has measured."
	v.Option = fmt.Sprintf("Set bpf-nat-global-max to %d (Helm: bpf.natMax).", v.Entries)
	if v.Entries > defaultCT {
		v.Option += " It may not exceed bpf-ct-global-tcp-max + bpf-ct-global-any-max (Helm: bpf.ctTcpMax, bpf.ctAnyMax), so raise those too."
	}
	v.SideEffect = sideEffect
}

const sideEffect = "The map is then recreated empty: every NAT entry of the node is lost once, so do it when the node is quiet or drained."

// roundUp returns the next power of two, within Cilium's limit.
func roundUp(n float64) uint32 {
	size := uint32(1024) // the least Cilium allows
	for float64(size) < n && size < maxEntries {
		size *= 2
	}
	return size
}

func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d >= time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
