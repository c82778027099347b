// SPDX-License-Identifier: Apache-2.0

// Package correlator turns flows and map operations into incidents.
//
// It is pure: it does no I/O, reads no clock and starts no goroutine. Time is
// what the events and Advance say. A Correlator belongs to one goroutine.
//
//	Observe ─▶ reorder ─▶ in event-time order ─▶ conn ─▶ suspect ─▶ Incident
//	           (Hold)      flow.go, nat.go       table    (Settle)
//
// Every event waits for Config.Hold in a buffer sorted by event time, so that
// the order of arrival inside that time decides nothing. Then it changes what
// is known of its connection. A mapping that comes back with another port, or
// a reply entry that comes back as the host's own, makes the connection a
// suspect; the suspect becomes an incident when an RST confirms it, or when
// Config.Settle has passed without one, unless what is known by then says that
// it is harmless: a new connection, one that had closed, one never established.
package correlator
