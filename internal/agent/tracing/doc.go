// SPDX-License-Identifier: Apache-2.0

// Package tracing shows what chosen connections go through, live: the kernel's
// operations on their entries beside Hubble's flows, by the time of the event.
//
//	kprobes.Trace ──operations──┐
//	                            ├─▶ correlator.Order ─▶ Run's write
//	agent's flows ──Hub.Flow────┘
//
// A Hub is the agent's. Flow may be called from one goroutine while traces begin
// and end in others. Each Run belongs to its
// caller: write is called from that goroutine only.
package tracing
