// SPDX-License-Identifier: Apache-2.0

// Package embedded runs a NATS server with JetStream inside renat, so that one
// command is a working system when no NATS URL is given.
//
// Messages are on disk before they are acknowledged (file store, every write
// synced). The server never leaves the machine unless Config.Listen says so;
// with no Listen address it has no socket at all and is reached with
// jetstream.Config.InProcess.
//
// All methods of a Server are safe for concurrent use. The package is apart
// from sinks/jetstream so that programs which only read do not link a server.
package embedded
