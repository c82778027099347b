// SPDX-License-Identifier: Apache-2.0

// Package hub turns the stream of incidents into notifications, and shows it.
//
//	                 ┌──────────────── lane, one a receiver ─────────────────┐
//	RENAT_INCIDENTS ─▶ durable consumer ─▶ grouping ─▶ delivery ─▶ destination │
//	                 │                        └── RENAT_HUB: what was told ──┘
//	                 └──── acknowledged when delivered, or in RENAT_DEAD
//
// Each receiver has a consumer of its own, so one that does not answer keeps
// no other waiting. Before a notification is sent, it is stored with the
// sequences of its incidents; when it has arrived, that is stored too, and
// then the incidents are acknowledged. Whoever takes over after a crash sends
// at most that notification again, with the same id and content.
//
// Of several hubs on one NATS, the one with the lease is active. Each of them,
// active or not, keeps a board of the newest incidents and of the nodes, which
// Handler serves as a page and an API.
//
// A Hub's Run is
// called once; its Handler may be used at any time, by any goroutine.
package hub
