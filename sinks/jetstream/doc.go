// SPDX-License-Identifier: Apache-2.0

// Package jetstream carries incidents through NATS JetStream: a Publisher
// stores each one once in the stream RENAT_INCIDENTS, Read yields them again.
//
//	Connect ─▶ *nats.Conn ─┬─▶ Publisher ─ Send, Publish+Flush ─▶ ┌─────────────────┐
//	    ▲                  │                                      │ RENAT_INCIDENTS │
//	    │                  └─▶ Read ◀─── range, then follow ───── └─────────────────┘
//	    └ a URL, or an embedded.Server in this process
//
// The subject, headers and body of a message are those of package incident.
// The server drops a second message with the same id within a window
// (DefaultDuplicates); PublisherConfig.SkipStored makes that exact for
// everything the stream still holds.
//
// One connection may serve any number of publishers and reads. Publisher.Send,
// Ensure and Counts are safe for concurrent use; Publish and Flush belong to
// one goroutine. Read calls back on the goroutine that called it. Nothing here
// logs what it also returns.
package jetstream
