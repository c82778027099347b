// SPDX-License-Identifier: Apache-2.0

// Package fleet tries renat with thousands of nodes on one machine:
//
//	nodes: publisher and status writer, ──▶ NATS, three ──▶ hubs, two ──▶ receiver
//	each with a connection of its own       servers          │  └──▶ page's readers
//	                                           └──────────────────▶ kubectl renat nodes
//
// All but the nodes' insides is what runs in production: package jetstream
// stores incidents and statuses, as the agent calls it; servers and hubs are
// processes of their own, so that what they cost can be told apart. The nodes,
// the receiver and the readers, which do what a browser with the page does, are
// in the process that calls Run.
//
// In the middle of the storm the active hub is killed. Run tells what was lost:
// nothing may be.
//
// Child must be the first call of a program that calls Run: it is that program
// which is started again as a server or a hub. Run may be called once at a time.
package fleet
