// SPDX-License-Identifier: Apache-2.0

package incident

// Value is one that a field may have.
type Value[T ~string] struct {
	Name    T
	Meaning string // in a few words
}

// Kinds are all kinds of incident.
var Kinds = []Value[Kind]{
	{Renat, "the pod's packet found no entry and got another source port"},
	{OrphanedReply, "the server's packet found no entry and was reset by the node"},
	{TrackingLost, "the tracking entry was removed alive, and policy dropped the packets as a stranger's"},
	{NoPort, "connections could not be opened: no source port was free"},
	{EgressChanged, "the address that it was sent from was changed"},
	{MapReplacement, "several connections broke because Cilium made the NAT map anew"},
}

// Causes are all causes.
var Causes = []Value[Cause]{
	{LRUEviction, "the kernel, to make room for another"},
	{UserspaceDelete, "a process, such as Cilium's agent"},
	{DatapathDelete, "a BPF program"},
	{MapReplaced, "Cilium, with the whole map: its size changed"},
	{PortsExhausted, "nothing: all source ports were taken"},
	{UnknownCause, "the removal was not seen"},
}

// Outcomes are all outcomes.
var Outcomes = []Value[Outcome]{
	{Reset, "the RST that ended it was seen"},
	{Dropped, "its packets were dropped, and none came through while renat waited"},
	{Timeout, "what the pod sent was not answered while renat waited"},
	{Unconfirmed, "none of these was seen while renat waited for it"},
}

// Names are the names of values.
func Names[T ~string](values []Value[T]) []string {
	names := make([]string, len(values))
	for n, v := range values {
		names[n] = string(v.Name)
	}
	return names
}

// Known returns v if it is one of the values, else "unknown": a later version's,
// or somebody's joke. What it returns keeps nothing else in memory.
func Known[T ~string](v T, values []Value[T]) T {
	for _, k := range values {
		if v == k.Name {
			return k.Name
		}
	}
	return "unknown"
}
