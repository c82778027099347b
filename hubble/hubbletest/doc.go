// SPDX-License-Identifier: Apache-2.0

// Package hubbletest is a Hubble Observer without a Cilium agent: a real gRPC
// server on a socket of its own, fed with recorded or made-up flows. It stands
// in for an agent in tests and in the laboratory.
//
// It keeps the habits of the real one (Cilium's pkg/hubble/observer and
// pkg/hubble/container) that a client must cope with: the newest event is
// withheld until the next one is written, following an empty ring delivers
// nothing until the ring was filled once, rewinding over a whole full ring
// reports one lost event, slow readers lose events. Filters that it does not
// know are refused, never ignored.
//
// All methods of Server may be called from any goroutine; Halt, Resume and
// Stop from one at a time.
package hubbletest
