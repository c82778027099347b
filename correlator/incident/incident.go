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
	// TrackingLost: the tracking entry was removed although the connection was
	// alive, and policy dropped its packets as a stranger's.
	TrackingLost Kind = "tracking_lost"
	// NoPort: connections could not be opened, because no source port was free for
	// one more to their server; one incident a server and minute.
	NoPort Kind = "no_port"
	// EgressChanged: the address that the connection was sent from was changed, and
	// its next packet came to the server from another one.
	EgressChanged Kind = "egress_changed"
	// MapReplacement: several connections broke because Cilium made the NAT map anew.
	MapReplacement Kind = "map_replaced"
)

// Cause is what removed the connection's entry from its map.
type Cause string

// The causes of an incident.
const (
	// LRUEviction: the kernel took the entry to make room for another.
	LRUEviction Cause = "lru_eviction"
	// UserspaceDelete: a process deleted the entry; deleted_by names it.
	UserspaceDelete Cause = "userspace_delete"
	// DatapathDelete: a BPF program deleted the entry.
	DatapathDelete Cause = "datapath_delete"
	// MapReplaced: the whole map was replaced by an empty one, as a restart of
	// Cilium's agent with another size does.
	MapReplaced Cause = "map_replaced"
	// PortsExhausted: nothing was removed; all source ports were taken.
	PortsExhausted Cause = "ports_exhausted"
	// UnknownCause: the removal itself was not seen.
	UnknownCause Cause = "unknown"
)

// Outcome is what became of the connection.
type Outcome string

// The outcomes of an incident.
const (
	// Reset: the RST that ended the connection was seen.
	Reset Outcome = "reset"
	// Dropped: its packets were dropped, and none came through while renat waited
	// for one.
	Dropped Outcome = "dropped"
	// Timeout: what the pod sent was not answered, nor reset, while renat waited.
	Timeout Outcome = "timeout"
	// Unconfirmed: nothing showed what became of it while renat waited.
	Unconfirmed Outcome = "unconfirmed"
)

// MaxEvidence is how many lines of evidence an incident carries at most.
const MaxEvidence = 32

// Incident is one connection that broke because its entry in a map of Cilium's was removed.
type Incident struct {
	// ID names the failure: the same failure has the same ID however often it
	// is seen, replayed or sent. It is the CloudEvent's id.
	ID string `json:"-"`
	// How the connection broke.
	Kind Kind `json:"kind" jsonschema:"enum=renat,enum=orphaned_reply,enum=tracking_lost,enum=no_port,enum=egress_changed,enum=map_replaced"`
	// What removed the connection's entry.
	Cause Cause `json:"cause" jsonschema:"enum=lru_eviction,enum=userspace_delete,enum=datapath_delete,enum=map_replaced,enum=ports_exhausted,enum=unknown"`
	// Process that deleted the entry, when the cause is userspace_delete.
	DeletedBy string `json:"deleted_by,omitempty"`
	// What became of the connection.
	Outcome Outcome `json:"outcome" jsonschema:"enum=reset,enum=dropped,enum=timeout,enum=unconfirmed"`
	// When the connection was re-NATted, its reply orphaned, or its packet dropped;
	// of no_port when the first was refused.
	Time time.Time `json:"time"`
	// Kubernetes node whose map lost the entry.
	Node string `json:"node"`
	// Cluster of the node.
	Cluster string `json:"cluster"`
	// Transport protocol, as Hubble names it.
	Protocol string `json:"protocol" jsonschema:"enum=TCP,enum=UDP,enum=SCTP"`
	// The pod's side, before translation by Cilium; of no_port
	// the first one, of map_replaced the second.
	Source Endpoint `json:"source"`
	// The source is the node's own address: a connection of the host, of a pod
	// on the host's network, or of a pod that iptables masquerades. Of the last
	// the pod is named if its flows tell.
	HostNetwork bool `json:"host_network,omitempty"`
	// The server's side.
	Destination Endpoint `json:"destination"`
	// What happened to the connection's translation.
	NAT NAT `json:"nat"`
	// The timeline, oldest first.
	Evidence []Evidence `json:"evidence" jsonschema:"maxItems=32"`
	// Of no_port: who was refused, and who has the ports.
	Ports *Ports `json:"ports,omitempty"`
	// Of kind map_replaced: how many broke by it, and whose.
	Replaced *Replacement `json:"replaced,omitempty"`
	// What was lost around the failure: how far to trust a missing line.
	Loss Loss `json:"loss"`
	// The map that lost the entry, at the time.
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
	// Name of the map that lost the entry.
	Map string `json:"map"`
	// Address and port the server knew the connection by; empty if unknown.
	Before string `json:"before,omitempty"`
	// Address and port after re-NATting; empty for an orphaned reply.
	After string `json:"after,omitempty"`
	// When the entry was removed, if that was seen.
	RemovedAt time.Time `json:"removed_at,omitzero"`
	// When the new entry was inserted, for kinds renat and egress_changed.
	RenattedAt time.Time `json:"renatted_at,omitzero"`
	// True when the kernel evicted an entry that was in recent use, because it
	// found none idle among those it looked at; others may be idle.
	Forced bool `json:"forced,omitempty"`
	// True when the agent's guard kept the connection's entries until it broke.
	Guarded bool `json:"guarded,omitempty"`
	// Of a connection tracking entry: how long it still had when it was removed.
	SecondsLeft uint32 `json:"seconds_left,omitempty"`
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
	Step Step `json:"step,omitempty" jsonschema:"enum=opened,enum=out_removed,enum=in_removed,enum=port_refused,enum=renatted,enum=orphaned,enum=pod_packet,enum=server_packet,enum=host_packet,enum=packet_dropped,enum=tracking_removed,enum=server_packet_dropped"`
	// TCP flags of a packet, joined by commas, as far as Hubble told.
	Flags string `json:"flags,omitempty"`
}

// Step is what a line of evidence is about.
type Step string

// The steps on the way to an incident.
const (
	Opened              Step = "opened"                // the connection opened
	OutRemoved          Step = "out_removed"           // the entry that translates the pod's packets is gone
	InRemoved           Step = "in_removed"            // the entry that translates the server's packets is gone
	PortRefused         Step = "port_refused"          // the old port could not be had: its IN entry is still there
	Renatted            Step = "renatted"              // the pod's packets got another port
	Orphaned            Step = "orphaned"              // the server's packets became the node's own
	PodPacket           Step = "pod_packet"            // a packet from the pod to the server
	ServerPacket        Step = "server_packet"         // a packet from the server to the pod
	HostPacket          Step = "host_packet"           // a packet from the node itself to the server
	PacketDropped       Step = "packet_dropped"        // a packet of the pod was dropped
	TrackingRemoved     Step = "tracking_removed"      // the connection tracking entry is gone
	ServerPacketDropped Step = "server_packet_dropped" // a packet of the server was dropped
)

// Ports are the source ports of connections to one server.
type Ports struct {
	// Connections refused within a minute; SYNs sent again count once, but beyond
	// 16,384 connections each.
	Refused uint64 `json:"refused"`
	// When it began: since then no minute was without a refusal.
	Since time.Time `json:"since"`
	// Pods with the most connections refused, at most five.
	Pods []PodCount `json:"pods,omitempty"`
	// Address that the connections to the server are sent from; the one with the
	// most, if there are several.
	Address string `json:"address,omitempty"`
	// Ports of that address in use to the server when the incident was published.
	InUse uint64 `json:"in_use,omitempty"`
	// Addresses of the pods that hold most of them, at most five.
	Holders []PodCount `json:"holders,omitempty"`
}

// Replacement is what a map that was made anew did. The new one's size is in map.
type Replacement struct {
	// Connections that broke; the first, which has an incident of its own, included.
	Broken uint64 `json:"broken"`
	// Those whose RST was seen.
	Reset uint64 `json:"reset"`
	// Size of the map before, in entries; 0 if unknown.
	MaxEntriesBefore uint32 `json:"max_entries_before,omitempty"`
	// Pods with the most that broke, at most five.
	Pods []PodCount `json:"pods,omitempty"`
}

// PodCount says how many a pod has.
type PodCount struct {
	// Pod, as namespace/name; its address if it is not known.
	Name string `json:"name"`
	// How many.
	Count uint64 `json:"count"`
}

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

// Map is the map's state when the incident happened.
type Map struct {
	// Size of the map in entries; 0 if unknown.
	MaxEntries uint32 `json:"max_entries"`
	// Evictions per second over the 10 seconds before; of a connection tracking
	// map those of living connections' entries.
	EvictionsPerSecond float64 `json:"evictions_per_second"`
}
