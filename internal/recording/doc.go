// SPDX-License-Identifier: Apache-2.0

// Package recording reads and writes recordings: a folder with what a node's
// Hubble and kernel showed, from which the same incidents can be derived again.
//
//	flows.jsonl  Hubble's JSON stream, as hubble observe -o jsonpb prints it
//	nat.jsonl    one operation on a NAT or CT map a line
//	meta.json    node, versions, map size and clock anchor; may be missing
//
// The two .jsonl files may be compressed as .jsonl.zst or .jsonl.gz. docs/recordings.md
// describes every field. A Recording belongs to one goroutine, the readers it
// hands out to one goroutine each. A Writer may be used by any number of them.
package recording
