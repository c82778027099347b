// SPDX-License-Identifier: Apache-2.0

package incident

import (
	"net/netip"
	"time"
)

// Kind is the way in which a connection broke.
type Kind string

// The kinds of incident.
const (
	// Renat: the pod's packet found no entry and got another source port.
	Renat Kind = "renat"
	// OrphanedReply: the server's packet found no entry and was reset by the node.
	OrphanedReply Kind = "orphaned_reply"
)

// Cause is what removed the connection's entry from the NAT map.
type Cause string

// The causes of an incident.
const (
	// LRUEviction: the kernel took the entry to make room for another.
	LRUEviction Cause = "lru_eviction"
	// UserspaceDelete: a process deleted the entry; deleted_by names it.
	UserspaceDelete Cause = "userspace_delete"
	// DatapathDelete: a BPF program deleted the entry.
	DatapathDelete Cause = "datapath_delete"
	// UnknownCause: the removal itself was not seen.
	UnknownCause Cause = "unknown"
)

// Outcome is what became of the connection.
type Outcome string

// The outcomes of an incident.
const (
	// Reset: the RST that ended the connection was seen.
	Reset Outcome = "reset"
	// Unconfirmed: no RST was seen while renat waited for one.
	Unconfirmed Outcome = "unconfirmed"
)

// MaxEvidence is how many lines of evidence an incident carries at most.
const MaxEvidence = 32

// Incident is one connection that broke because its NAT entry was removed.
type Incident struct {
	// ID names the failure: the same failure has the same ID however often it
	// is seen, replayed or sent. It is the CloudEvent's id.
	ID string `json:"-"`
	// How the connection broke.
	Kind Kind `json:"kind" jsonschema:"enum=renat,enum=orphaned_reply"`
	// What removed the connection's NAT entry.
	Cause Cause `json:"cause" jsonschema:"enum=lru_eviction,enum=userspace_delete,enum=datapath_delete,enum=unknown"`
	// Process that deleted the entry, when the cause is userspace_delete.
	DeletedBy string `json:"deleted_by,omitempty"`
	// What became of the connection.
	Outcome Outcome `json:"outcome" jsonschema:"enum=reset,enum=unconfirmed"`
	// When the connection was re-NATted, or its reply orphaned.
	Time time.Time `json:"time"`
	// Kubernetes node whose map evicted the entry.
	Node string `json:"node"`
	// Cluster of the node.
	Cluster string `json:"cluster"`
	// Transport protocol, as Hubble names it.
	Protocol string `json:"protocol" jsonschema:"enum=TCP,enum=UDP,enum=SCTP"`
	// The pod's side, before translation.
	Source Endpoint `json:"source"`
	// The server's side.
	Destination Endpoint `json:"destination"`
	// What happened to the connection's translation.
	NAT NAT `json:"nat"`
	// The timeline, oldest first.
	Evidence []Evidence `json:"evidence" jsonschema:"maxItems=32"`
	// What was lost around the failure: how far to trust a missing line.
	Loss Loss `json:"loss"`
	// The NAT map at the time.
	Map Map `json:"map"`
}

// Endpoint is one side of the connection, as far as Hubble knew it.
type Endpoint struct {
	// IP address before translation.
	IP netip.Addr `json:"ip"`
	// Port before translation.
	Port uint16 `json:"port" jsonschema:"minimum=0,maximum=65535"`
	// Kubernetes namespace.
	Namespace string `json:"namespace,omitempty"`
	// Pod name.
	Pod string `json:"pod,omitempty"`
	// Workload that owns the pod, as kind/name.
	Workload string `json:"workload,omitempty"`
	// Cilium's security identity.
	Identity uint32 `json:"identity,omitempty"`
	// Cilium's security labels.
	Labels []string `json:"labels,omitempty"`
	// DNS names the pod resolved to this address.
	Names []string `json:"names,omitempty"`
}

// NAT is what happened to the connection's entries.
type NAT struct {
	// Name of the NAT map.
	Map string `json:"map"`
	// Address and port the server knew the connection by; empty if unknown.
	Before string `json:"before,omitempty"`
	// Address and port after re-NATting; empty for an orphaned reply.
	After string `json:"after,omitempty"`
	// When the entry was removed, if that was seen.
	RemovedAt time.Time `json:"removed_at,omitzero"`
	// When the new entry was inserted, for kind renat.
	RenattedAt time.Time `json:"renatted_at,omitzero"`
	// True when the kernel evicted an entry that was in recent use.
	Forced bool `json:"forced,omitempty"`
	// BPF program that inserted the new entry, or the host's own.
	Program string `json:"program,omitempty"`
}

// Source says who saw a line of evidence.
type Source string

// The sources of evidence.
const (
	Kernel Source = "kernel"
	Hubble Source = "hubble"
)

// Evidence is one line of the timeline.
type Evidence struct {
	// When, by the source's clock: Hubble's may trail the kernel's by some 100 ms.
	Time time.Time `json:"time"`
	// Who saw it.
	From Source `json:"from" jsonschema:"enum=kernel,enum=hubble"`
	// What was seen, in words.
	What string `json:"what"`
	// What was seen, for programs.
	Step Step `json:"step,omitempty" jsonschema:"enum=opened,enum=out_removed,enum=in_removed,enum=port_refused,enum=renatted,enum=orphaned,enum=pod_packet,enum=server_packet,enum=host_packet,enum=packet_dropped"`
	// TCP flags of a packet, joined by commas, as far as Hubble told.
	Flags string `json:"flags,omitempty"`
}

// Step is what a line of evidence is about.
type Step string

// The steps on the way to an incident.
const (
	Opened        Step = "opened"         // the connection opened
	OutRemoved    Step = "out_removed"    // the entry that translates the pod's packets is gone
	InRemoved     Step = "in_removed"     // the entry that translates the server's packets is gone
	PortRefused   Step = "port_refused"   // the old port could not be had: its IN entry is still there
	Renatted      Step = "renatted"       // the pod's packets got another port
	Orphaned      Step = "orphaned"       // the server's packets became the node's own
	PodPacket     Step = "pod_packet"     // a packet from the pod to the server
	ServerPacket  Step = "server_packet"  // a packet from the server to the pod
	HostPacket    Step = "host_packet"    // a packet from the node itself to the server
	PacketDropped Step = "packet_dropped" // a packet of the pod was dropped
)

// Loss is what the sources could not deliver from the removal of the entry
// to the verdict.
type Loss struct {
	// Kernel events lost.
	KernelEvents uint64 `json:"kernel_events"`
	// Hubble flows that Hubble reported lost.
	HubbleFlows uint64 `json:"hubble_flows"`
	// Connections which the kernel saw open while Hubble delivered no opening
	// packet: flows lost without a report, at least this many.
	HubbleUnseen uint64 `json:"hubble_unseen"`
	// True when some number is unknown: an agent restarted in the window.
	Unknown bool `json:"unknown,omitempty"`
}

// Map is the NAT map's state when the incident happened.
type Map struct {
	// Size of the map in entries; 0 if unknown.
	MaxEntries uint32 `json:"max_entries"`
	// Evictions per second over the 10 seconds before.
	EvictionsPerSecond float64 `json:"evictions_per_second"`
}
