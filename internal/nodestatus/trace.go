// SPDX-License-Identifier: Apache-2.0

package nodestatus

import "time"

// Where a line of a trace comes from.
const (
	FromKernel = "kernel" // an operation on one of Cilium's maps
	FromHubble = "hubble" // a packet that Hubble showed
	FromRenat  = "renat"  // about the trace itself
)

// TraceLine is what a traced connection went through: a line of the agent's
// /v1/trace. Which fields there are depends on From.
type TraceLine struct {
	Time time.Time `json:"time"`
	Node string    `json:"node"`
	From string    `json:"from"`
	// What happened. Kernel: insert, evict, delete. Hubble: where the packet was
	// seen (to-stack, to-network, to-overlay, to-endpoint) or dropped. renat:
	// tracing, waiting, lost.
	What string `json:"what"`

	Protocol    string `json:"protocol,omitempty"`
	Source      string `json:"source,omitempty"` // ip:port, as in the packet's header
	Destination string `json:"destination,omitempty"`

	// Of the kernel.
	Map       string `json:"map,omitempty"`
	Direction string `json:"direction,omitempty"` // of the entry: OUT, IN
	To        string `json:"to,omitempty"`        // the entry's value: what the packet's address is translated to
	Errno     int    `json:"errno,omitempty"`     // of an operation that failed
	Error     string `json:"error,omitempty"`     // its name: EEXIST
	Forced    bool   `json:"forced,omitempty"`    // evict: the entry was in use lately
	// AgeSeconds is how long ago a removed entry had been made, if that is known.
	AgeSeconds *float64 `json:"age_seconds,omitempty"`
	// LeftSeconds is how long the tracking entry of a living TCP connection would
	// have lasted when it was removed.
	LeftSeconds *float64 `json:"left_seconds,omitempty"`
	Program     string   `json:"program,omitempty"` // that did it, or "syscall"
	Process     string   `json:"process,omitempty"` // that did it by a system call
	CPU         *int     `json:"cpu,omitempty"`

	// Of Hubble.
	Flags           string `json:"flags,omitempty"`  // TCP's: SYN,ACK
	Reason          string `json:"reason,omitempty"` // what connection tracking said: new, established, reply, related, reopened
	DropReason      uint16 `json:"drop_reason,omitempty"`
	SourceName      string `json:"source_name,omitempty"` // namespace/pod, or a DNS name
	DestinationName string `json:"destination_name,omitempty"`

	// Of renat.
	Count uint64 `json:"count,omitempty"` // lost: how many
	Note  string `json:"note,omitempty"`
}
