// SPDX-License-Identifier: Apache-2.0

// Package proxy serves a Hubble Observer in front of another one: what it
// answers is what that one answers, byte for byte, with additions to the flows
// of masqueraded connections (package hubble/enrich).
//
//	hubble, hubble-relay, hubble-ui ──▶ Proxy ──▶ Cilium agent (hubble.sock)
//	                                     │
//	                                     └─ enrich.Source
//
// The Observer's calls, Health, Peer and reflection are passed on, with their
// metadata; other services are not there. Each call has a connection of its
// own to the Observer behind, so that it ends as it would there, and a slow
// reader is slow for that Observer, too: it, not the proxy, then loses events
// and tells so.
//
// Call Run once. Stats may be called from any goroutine.
package proxy
