// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// Verdict is what a person needs to know beyond the facts. A sentence that
// does not apply is empty.
type Verdict struct {
	// What happened, in one sentence.
	What string `json:"what"`
	// Restore says whether Cilium's repair of half-evicted entries could have helped.
	Restore string `json:"restore,omitempty"`
	// Size says whether a larger NAT map helps. How large it must be, incidents
	// do not tell: what the nodes measured does, which Action works out.
	Size string `json:"size,omitempty"`
	// Action is one command line that leads further. Whatever the incidents hold,
	// it is safe to be pasted into a shell.
	Action string `json:"action"`
	// Runbook is the URL of the page that says what to do.
	Runbook string `json:"runbook"`
}

const kinds = "https://github.com/renat-project/renat/blob/main/docs/kinds.md#"

const runbooks = "https://github.com/renat-project/renat/blob/main/docs/runbooks/"

// maxEntries is Cilium's limit for bpf-nat-global-max
// (cilium pkg/option/config.go, LimitTableMax).
const maxEntries = 1 << 24

// Of returns the verdict on f.
func Of(f Facts) Verdict {
	return Verdict{What: what(f), Restore: restore(f), Size: size(f), Action: action(f), Runbook: runbook(f)}
}

func deleter(f Facts) string {
	if f.DeletedBy == "" {
		return "a process on the node"
	}
	return f.DeletedBy
}

func what(f Facts) string {
	total := total(f.Kinds) - f.Kinds[incident.NoPort]
	if f.Kinds[incident.NoPort] > 0 && total == 0 {
		return refused(f)
	}
	if one := f.Kinds[incident.MapReplacement]; f.Broken > 0 {
		total += int(f.Broken) - one                          //nolint:gosec // a node's connections
		total -= min(one, f.Causes[incident.MapReplaced]-one) // the first has an incident of its own, too
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", total, plural(total, "connection", "connections"))
	b.WriteString(parties(f))
	b.WriteString(" " + plural(total, "was", "were") + " broken")
	if f.Node != "" {
		b.WriteString(" on node " + f.Node)
	}
	b.WriteString(": " + why(f, plural(total, "its entry", "their entries")))
	renat, orphaned, untracked := f.Kinds[incident.Renat]+f.Kinds[incident.EgressChanged], f.Kinds[incident.OrphanedReply], f.Kinds[incident.TrackingLost]
	switch {
	case untracked == total && total > 0:
		b.WriteString("; policy took the next packet for a stranger's and dropped it")
	case untracked > 0:
		var parts []string
		for _, p := range []struct {
			n    int
			what string
		}{{renat, "the next packet " + another(f)}, {orphaned, "the server's packets found no entry"}, {untracked, "policy dropped the packets"}} {
			if p.n > 0 {
				parts = append(parts, fmt.Sprintf("of %d %s", p.n, p.what))
			}
		}
		b.WriteString("; " + strings.Join(parts, ", "))
	case renat > 0 && orphaned > 0:
		fmt.Fprintf(&b, "; %d "+another(f)+", of %d the server's packets found no entry", renat, orphaned)
	case renat > 0:
		b.WriteString("; the next packet " + another(f) + ", and the server does not know it")
	case orphaned > 0 && f.Outcomes[incident.Timeout] == total:
		b.WriteString("; the server's next packet found no entry")
	case orphaned > 0:
		b.WriteString("; the server's next packet found no entry, and the node reset it")
	}
	b.WriteString(".")
	if n := f.Outcomes[incident.Timeout]; n > 0 {
		on := plural(total, "it", "them")
		if n < total {
			on = fmt.Sprintf("%d of them", n)
		}
		b.WriteString(" What was sent on " + on + " since was neither answered nor reset: something drops it, such as a firewall, and the application waits until it times out.")
	}
	if f.Kinds[incident.NoPort] > 0 {
		b.WriteString(" " + refused(f))
	}
	return b.String()
}

func parties(f Facts) (s string) {
	if f.Source != "" {
		s = " of " + f.Source
	}
	if f.Destination != "" {
		s += " to " + f.Destination
	}
	return s
}

// why says what became of the entries, which entries names.
func why(f Facts, entries string) string {
	evicted, deleted := f.Causes[incident.LRUEviction], f.Causes[incident.UserspaceDelete]
	datapath, replaced, unknown := f.Causes[incident.DatapathDelete], f.Causes[incident.MapReplaced], f.Causes[incident.UnknownCause]
	table := tableOf(f)
	var parts []string
	add := func(n int, s string) {
		if n > 0 {
			parts = append(parts, s)
		}
	}
	add(evicted, "the full "+table+" evicted "+entries)
	add(deleted, deleter(f)+" deleted "+entries+" from the "+table)
	add(datapath, "the datapath deleted "+entries+" from the "+table)
	add(replaced, "the "+table+" was replaced by an empty one"+at(f.ReplacedAt)+", and "+entries+" went with it")
	add(unknown, entries+" vanished from the "+table+", how was not seen")
	if len(parts) == 0 {
		return entries + " went from the " + table
	}
	return strings.Join(parts, ", or ")
}

// tableOf names the map that the entries went from.
func tableOf(f Facts) string {
	switch tracking := f.Kinds[incident.TrackingLost]; {
	case tracking == 0:
		return "NAT map"
	case only(f, incident.TrackingLost):
		return "connection tracking map"
	}
	return "map"
}

// only reports whether all are of one kind.
func only(f Facts, kind incident.Kind) bool {
	return f.Kinds[kind] > 0 && len(f.Kinds) == 1
}

// another says what became of the pod's next packet.
func another(f Facts) string {
	switch {
	case f.moved == 0:
		return "got another source port"
	case f.ported > 0:
		return "got another source port or address"
	case f.kept:
		return fmt.Sprintf("went out from another address (%s -> %s, port kept)", f.from, f.to)
	}
	return fmt.Sprintf("went out from another address (%s -> %s)", f.from, f.to)
}

func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " at " + t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// restore: Cilium rebuilds an entry from its twin, in one direction each
// (1.18.0: a reply that finds IN rebuilds OUT; 1.17.0: a pod's packet that
// finds OUT rebuilds IN). Both kinds of incident are the other order. Only
// evictions take one twin and leave the other.
func restore(f Facts) string {
	if f.Causes[incident.LRUEviction] == 0 || f.Kinds[incident.TrackingLost] > 0 || f.Kinds[incident.EgressChanged] > 0 {
		return ""
	}
	switch r, o := f.Kinds[incident.Renat], f.Kinds[incident.OrphanedReply]; {
	case r > 0 && o > 0:
		return "Cilium's restore could not help: it needs the server to send first where here the pod did (1.18 and later), and the pod where here the server did (1.17 and later)."
	case r > 0:
		return "Cilium's restore (1.18 and later) could not help: it rebuilds the entry when the server sends first, and here the pod did."
	case o > 0:
		return "Cilium's restore (1.17 and later) could not help: it rebuilds the entry when the pod sends first while its other entry is left, and here the server sent first."
	}
	return ""
}

// size says whether a larger map helps, which it does against evictions alone.
// With E evictions a second, an entry nobody uses stays M/2E to M/E seconds in a
// map of M entries.
func size(f Facts) string {
	if only(f, incident.TrackingLost) {
		return trackingSize(f)
	}
	if only(f, incident.NoPort) {
		return morePorts
	}
	if only(f, incident.EgressChanged) {
		return otherAddress
	}
	evicted, total := f.Causes[incident.LRUEviction], total(f.Causes)-f.Causes[incident.PortsExhausted]
	if evicted == 0 {
		return inVain(f)
	}
	var b strings.Builder
	switch {
	case f.MaxEntries >= maxEntries:
		fmt.Fprintf(&b, "The NAT map has %d entries, the most Cilium allows: spread the connections over more nodes, or over egress gateways.", f.MaxEntries)
	case f.MaxEntries > 0 && f.EvictionsPerSecond > 0:
		keeps := float64(f.MaxEntries) / f.EvictionsPerSecond
		fmt.Fprintf(&b, "The NAT map of %d entries evicts %s a second, so it forgets a connection after %s to %s of silence.",
			f.MaxEntries, rate(f.EvictionsPerSecond), span(keeps/2), span(keeps))
	case f.MaxEntries > 0:
		fmt.Fprintf(&b, "The NAT map has %d entries.", f.MaxEntries)
	}
	if f.MaxEntries < maxEntries {
		b.WriteString(" A larger one ends that. How large it must be, kubectl renat advise works out from what the nodes measured; " +
			"set all that it lists together: Cilium does not start with a NAT map (bpf.natMax) larger than its connection tracking maps (bpf.ctTcpMax, bpf.ctAnyMax).")
	}
	if evicted < total {
		fmt.Fprintf(&b, " It does not help against the %d that were not evicted.", total-evicted)
	}
	if n := f.Kinds[incident.EgressChanged]; n > 0 {
		fmt.Fprintf(&b, " Nor does it against the %d whose address was changed.", n)
	}
	if n := f.Kinds[incident.TrackingLost]; n > 0 {
		fmt.Fprintf(&b, " Nor does it against the %d that lost their tracking entry.", n)
	}
	return strings.TrimSpace(b.String())
}

// trackingSize says the same of the connection tracking map.
func trackingSize(f Facts) string {
	const no = "No larger map helps: "
	switch {
	case f.Causes[incident.LRUEviction] > 0:
		s := "The connection tracking map is too small for what it has to hold: a larger one (bpf.ctTcpMax) ends the evictions."
		if f.TrackingEntries > 0 {
			s = fmt.Sprintf("The connection tracking map of %d entries is too small for what it has to hold: a larger one (bpf.ctTcpMax) ends the evictions.", f.TrackingEntries)
		}
		if n := total(f.Causes) - f.Causes[incident.LRUEviction]; n > 0 {
			s += fmt.Sprintf(" It does not help against the %d that were not evicted.", n)
		}
		return s
	case f.Causes[incident.UserspaceDelete] > 0:
		return no + deleter(f) + " deleted the entries of connections that were alive."
	case f.Causes[incident.MapReplaced] > 0:
		return no + "nothing was evicted, and another size would replace the map again."
	}
	return no + "nothing was evicted."
}

func total[K comparable](counts map[K]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// whyAnew says why Cilium made the map anew, as far as the sizes tell.
func whyAnew(f Facts) string {
	switch {
	case f.SizeBefore == 0 || f.SizeAfter == 0:
		return "Cilium's agent makes it anew, empty, when it starts with another size."
	case f.SizeBefore == f.SizeAfter:
		return fmt.Sprintf("Both had %d entries, so it was not made anew for its size: an upgrade that changes its layout does that, and whoever removes its pin.", f.SizeAfter)
	}
	return fmt.Sprintf("It had %d entries and has %d: Cilium's agent makes it anew, empty, when it starts with another size.", f.SizeBefore, f.SizeAfter)
}

// otherAddress says why no size helps where the address is another.
const otherAddress = "A larger NAT map does not help: the address that the connections are sent from was changed, by an egress gateway policy or on the node."

// inVain says why no size helps, where nothing was evicted.
func inVain(f Facts) string {
	const no = "A larger NAT map does not help: "
	switch {
	case f.Causes[incident.UserspaceDelete] > 0:
		return no + deleter(f) + " deleted the entries of connections that were alive."
	case f.Causes[incident.MapReplaced] > 0:
		return no + "nothing was evicted, and another size would replace the map again. " + whyAnew(f)
	case f.moved > 0 && f.ported == 0:
		return otherAddress
	case f.Causes[incident.DatapathDelete] > 0:
		return no + "Cilium's own programs deleted the entries."
	case f.Causes[incident.UnknownCause] > 0:
		return "Whether a larger NAT map helps is not known: kubectl renat nodes shows whether it evicts."
	}
	return ""
}

// action is what to run next: for evictions what sizes the map, else what shows
// the evidence.
func action(f Facts) string {
	const idShown = 8 // characters, which are enough to find it
	switch {
	case f.Causes[incident.LRUEviction] > 0 && f.MaxEntries < maxEntries && !only(f, incident.TrackingLost) && !only(f, incident.EgressChanged):
		return "kubectl renat advise"
	case len(f.Incident) >= idShown && strings.Trim(f.Incident, "0123456789abcdef") == "":
		return "kubectl renat describe " + f.Incident[:idShown]
	}
	return "kubectl renat incidents"
}

func runbook(f Facts) string {
	for _, kind := range []incident.Kind{incident.TrackingLost, incident.NoPort, incident.EgressChanged, incident.MapReplacement} {
		if only(f, kind) {
			return kinds + string(kind)
		}
	}
	if f.Causes[incident.LRUEviction] > 0 {
		return runbooks + "RenatEvictionsBreakConnections.md"
	}
	return runbooks + "RenatNodeBreaking.md"
}

func rate(perSecond float64) string {
	if perSecond >= 10 {
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.2g", perSecond)
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
