// SPDX-License-Identifier: Apache-2.0

// Package fleet asks the agents of many nodes at once, or what they told NATS.
//
//	Agents: Agent, Agent, … ── HTTP, many at a time, each with a time limit ──┐
//	                                                                          ├─▶ answers, and who gave none
//	NATS: the nodes' bucket, the incidents' stream ───────────────────────────┘
//
// An agent that does not answer costs its own answer and nobody else's. The
// sources may be used from any goroutine.
package fleet
