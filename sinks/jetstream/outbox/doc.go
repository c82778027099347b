// SPDX-License-Identifier: Apache-2.0

// Package outbox keeps incidents on this node's disk until they are in NATS.
//
//	Add ─▶ queue ─▶ stream RENAT_OUTBOX ─▶ forwarder ─▶ stream RENAT_INCIDENTS
//	      (memory)  (this node's disk)                 (the hub's NATS, or the same server)
//
// The first stream is in an embedded NATS server that syncs every write: an
// incident counts as published when it is there. The forwarder goes through
// it in order, sends each with its own id, and moves its cursor when NATS has
// confirmed; what it sends twice after a crash, NATS knows by the id. What was
// forwarded stays in the stream as this node's history until newer incidents
// need its place.
//
// A server that nobody else reaches runs only while something is stored or sent.
// In between its directory stays locked.
//
// Open, Run, Drain and Close are for the goroutine that owns the outbox; Add,
// Status, URL and Recent may be called from any.
package outbox
