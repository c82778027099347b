// SPDX-License-Identifier: Apache-2.0

// Package agent is the node agent: it joins the flows of a node's Hubble and
// the operations on its NAT maps, and publishes the incidents.
//
//	hubble.Client ──┐
//	                ├─▶ tracker (clock, correlator) ─▶ outbox ─▶ NATS
//	kprobes.Tracer ─┘          │
//	                           └─▶ status ─▶ HTTP, NATS
//
// Beside it, if asked for, the guard keeps connections' entries.
//
// Run is all there is to call; it returns when everything it began has ended.
// The tracker's lock is where the two sources meet; everything else belongs to
// the goroutine that Run starts for it.
package agent
