// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"strconv"
	"strings"
	"time"
)

// Kind says which part of an Event is set.
type Kind uint8

// The kinds of Event.
const (
	KindFlow Kind = iota + 1 // a packet Hubble saw: Event.Tuple and Event.Flow
	KindNAT                  // an operation on a NAT or CT map: Event.Tuple and Event.NAT
	KindLoss                 // events that a source could not deliver: Event.Loss
)

// Event is one input of the correlator. It is passed by value: a source may
// reuse nothing it points to, because Peer, Map and Caller are shared and
// must not change once they were emitted.
type Event struct {
	Time  int64 // Unix time in nanoseconds, as the source stamped it
	Kind  Kind
	Tuple Tuple // of the packet, or of the map's key, in packet-header order
	Flow  Flow
	NAT   NATChange
	Loss  Loss
}

// Flow is what the correlator keeps of a Hubble flow.
type Flow struct {
	Src, Dst *Peer // nil where Hubble knew nothing
	Flags    TCPFlags
	Point    Point
	Reason   Reason
	// Xlated is the address that the source was translated to, where the packet
	// was seen after that (Hubble's source_xlated), else zero. The tuple then has
	// the pod's address and the translated port: no connection that exists.
	Xlated     [16]byte
	DropReason uint16 // Cilium's drop reason when Point is Dropped, else 0
}

// Peer is one side of a flow as Hubble names it. Peers are interned: the
// same peer is the same pointer while it stays in the source's cache.
type Peer struct {
	Identity  uint32
	Namespace string
	Pod       string
	Workload  string // "Deployment/cart", the first one Hubble lists
	Labels    []string
	Names     []string // DNS names of the address
}

// TCPFlags are the flags of a TCP header, bit for bit; 0 for other protocols.
type TCPFlags uint16

// The TCP flags that decide something.
const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	NS
)

var flagNames = [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"}

// String returns the set flags' names joined by commas.
func (f TCPFlags) String() string {
	s := ""
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			if s != "" {
				s += ","
			}
			s += name
		}
	}
	return s
}

// Point is where in the datapath Hubble saw a packet.
type Point uint8

// The observation points that matter here; the numbers are
// flow.TraceObservationPoint's, Dropped is ours.
const (
	UnknownPoint Point = 0
	ToStack      Point = 3
	ToOverlay    Point = 4
	ToEndpoint   Point = 101
	ToNetwork    Point = 11
	Dropped      Point = 255
)

// Reason is Hubble's trace reason: what connection tracking said of the packet.
type Reason uint8

// The trace reasons; the numbers are flow.TraceReason's.
const (
	ReasonUnknown     Reason = 0
	ReasonNew         Reason = 1
	ReasonEstablished Reason = 2
	ReasonReply       Reason = 3
	ReasonRelated     Reason = 4
	ReasonReopened    Reason = 5
)

// NATChange is one operation on a NAT or CT map as the kernel did it.
type NATChange struct {
	Op    Op
	Dir   Dir
	Errno int16 // of a failed insert or delete, positive; 0 when it worked
	// Forced marks an eviction of an entry that was in use lately: the LRU
	// found no idle one (kernel: active list, or reference bit set).
	Forced bool
	Flags  uint8 // of an insert, as in bpf(2): any 0, no-exist 1, exist 2
	CPU    uint16
	To     Addr // the entry's value: where the packet's address is translated to; zero if unknown and for CT
	// Created is when the entry that was removed had been made, of a missing one
	// its twin, in Unix nanoseconds; 0 if unknown. The kernel stamps it in whole
	// seconds.
	Created int64
	// Left is how long the tracking entry of a pod's established TCP connection,
	// not closed by both sides, still had when it was removed; 0 of all others.
	Left   time.Duration
	KTime  uint64  // nanoseconds of the kernel's monotonic clock; 0 if unknown
	Map    *Map    // never nil
	Caller *Caller // nil if unknown; never known for evictions
}

// Op is what was done to an entry.
type Op uint8

// The operations.
const (
	Insert   Op = iota + 1 // update of a key, new or overwritten
	Evict                  // taken by the kernel's LRU to make room
	Delete                 // deleted by a program or a syscall
	Replaced               // the whole map was replaced by an empty one; the tuple is unset
	// Missing says that an entry is not there although its connection is tracked,
	// and established if it is TCP: it went before anybody watched, or unseen.
	// Where the entry's twin is gone as well, which is told at the same time, To
	// or the address in the tuple is a guess.
	Missing
)

var opNames = [...]string{Insert: "insert", Evict: "evict", Delete: "delete", Replaced: "replaced", Missing: "missing"}

// String returns the operation's name in recordings.
func (o Op) String() string {
	if int(o) < len(opNames) && opNames[o] != "" {
		return opNames[o]
	}
	return "op(" + strconv.Itoa(int(o)) + ")"
}

// Dir says which of a connection's two entries was touched.
type Dir uint8

// The directions, numbered as in Cilium's tuple flags.
const (
	Out Dir = 0 // pod to server
	In  Dir = 1 // server to SNAT address
)

// String returns "OUT" or "IN".
func (d Dir) String() string {
	if d == In {
		return "IN"
	}
	return "OUT"
}

// Map is one of Cilium's maps.
type Map struct {
	Name       string // as pinned: cilium_snat_v4_external
	ID         uint32 // kernel's map id; 0 in recordings
	MaxEntries uint32 // 0 if unknown
	CT         bool   // a connection tracking map, else NAT
	// Distributed: each CPU has a list of its own (BPF_F_NO_COMMON_LRU).
	Distributed bool
	Was         uint32 // MaxEntries of the map that it replaced; 0 if unknown
}

// Caller is who changed a map.
type Caller struct {
	Program string // BPF program (tail_handle_snat_fwd_ipv4), or ProgramSyscall
	Comm    string // the process, when Program is ProgramSyscall
}

// ProgramSyscall is the Caller.Program of a change made through bpf(2).
const ProgramSyscall = "syscall"

// Loss says that a source lost events: their number, and roughly when.
type Loss struct {
	From  LossSource
	Count uint64 // 0 when the number cannot be known (a restart)
	First int64  // Unix nanoseconds of the first and last loss; equal to Event.Time if unknown
	Last  int64
}

// LossSource is where events got lost.
type LossSource uint8

// The places where events get lost.
const (
	LossHubblePerf    LossSource = iota + 1 // Cilium's perf ring buffer
	LossHubbleQueue                         // the observer's events queue
	LossHubbleRing                          // Hubble's ring: its reader was too slow
	LossHubbleRestart                       // the agent restarted, or was away longer than its ring reaches back
	LossHubbleDecode                        // a flow that could not be read
	LossKernelRing                          // renat's own ring buffer was full
	LossKernelDecode                        // a kernel event that could not be read, or a skipped line of a recording
	LossKernelMissed                        // the kernel did not run renat's program: it was running already, or out of room
	lossSources
)

var lossNames = [lossSources]string{
	LossHubblePerf: "hubble_perf_ring", LossHubbleQueue: "hubble_events_queue", LossHubbleRing: "hubble_ring",
	LossHubbleRestart: "hubble_restart", LossHubbleDecode: "hubble_decode",
	LossKernelRing: "kernel_ring", LossKernelDecode: "kernel_decode",
	LossKernelMissed: "kernel_missed",
}

// String returns the source's name as metrics and incidents show it.
func (s LossSource) String() string {
	if s < lossSources && lossNames[s] != "" {
		return lossNames[s]
	}
	return "unknown"
}

// Kernel reports whether kernel events, not flows, were lost.
func (s LossSource) Kernel() bool {
	return s == LossKernelRing || s == LossKernelDecode || s == LossKernelMissed
}

// IPv6 reports whether the map is for IPv6: Cilium's maps say so in their name.
func (m *Map) IPv6() bool {
	return strings.Contains(m.Name, "_v6_") || strings.Contains(m.Name, "6_global")
}

// PerCluster reports whether the map is one of those that cluster-aware
// addressing has for each remote cluster. Addresses of several clusters may
// overlap there, so that a tuple alone is no connection.
func (m *Map) PerCluster() bool { return strings.Contains(m.Name, "per_cluster") }

// podTuple returns the event's tuple as the pod's packets have it. Of IN entries
// it is only a guess.
func (ev *Event) podTuple() Tuple {
	if ev.Kind == KindFlow && (ev.Flow.Point == ToEndpoint || ev.Flow.Point == ToOverlay) {
		return ev.Tuple.Reverse()
	}
	return ev.Tuple
}
