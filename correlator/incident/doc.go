// SPDX-License-Identifier: Apache-2.0

// Package incident defines what renat publishes: one connection that Cilium's
// NAT map broke, once. It is the only definition; the JSON Schema beside it
// and docs/incident-reference.md are generated from it (go generate), and every
// other package imports it.
//
// An incident travels as a CloudEvents 1.0 event in structured JSON mode on
// the NATS subject that Incident.Subject returns, with the headers of
// Incident.Headers. All of the package is pure and safe for concurrent use.
package incident

//go:generate go run ./schemagen incident.v1.schema.json ../../docs/incident-reference.md
