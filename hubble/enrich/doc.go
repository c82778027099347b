// SPDX-License-Identifier: Apache-2.0

// Package enrich adds to Hubble's flows what Hubble cannot know: the address
// and port that a masqueraded connection is sent from, and the incident that
// broke it. What a flow already says stays as it is, byte for byte.
//
//	encoded GetFlowsResponse ──Response──▶ the same, longer Summary, extensions
//	line of hubble observe -o jsonpb ──Line──▶ the same
//
// Both ask a Source, once for each flow with ports. Functions here keep no
// state; they may be called from any goroutine if their Source may.
package enrich
