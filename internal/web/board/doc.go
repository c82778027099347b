// SPDX-License-Identifier: Apache-2.0

// Package board holds in memory what the page and the HTTP API show: the newest
// incidents, the status of each node, and who wants to hear of changes.
//
//	correlator or JetStream ─ Add, Load ──▶ ┌───────┐ ─▶ Incidents, Incident, Summary, Nodes
//	agent or NATS KV ─ SetStatus ─────────▶ │ Board │
//	the state of the source ─ SetProblem ─▶ └───────┘ ─▶ Subscribe: each change as an Event
//
// It is a window on what is stored elsewhere, not a store: a process that
// starts again fills it again. An agent's board keeps its incidents whole. A
// hub's keeps them without evidence and labels, some 0.8 kB each
// (BenchmarkBoardMemory), and fetches the whole one when it is asked for.
//
// All methods may be called from any goroutine. Incidents that were handed to a
// board or came from it must not be changed.
package board
