// SPDX-License-Identifier: Apache-2.0

// Package hubble reads the flows of one Cilium agent and turns them into
// events for the correlator.
//
//	hubble.sock ──ServerStatus, GetFlows──▶ Client.Run ──correlator.Event──▶ emit
//
// Run asks for few flows and few of their fields, reads those straight off the
// wire, resumes where it stopped after any interruption, and reports what was
// lost on the way as events of their own.
//
// New may be called from anywhere. Run and Tap call emit from their own
// goroutine only, one event at a time; a Client runs once at a time. Stats may
// be called from any goroutine at any time. FromResponse is the plain form of
// the conversion: the specification that the wire decoder is tested against.
package hubble
