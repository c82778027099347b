// SPDX-License-Identifier: Apache-2.0

// Package lru models which entries the kernel's LRU hash map evicts: the maps
// of type BPF_MAP_TYPE_LRU_HASH in which Cilium keeps its NAT entries.
//
// An entry is on one of three lists, and has a reference bit which every
// lookup sets:
//
//	            each CPU                        all CPUs (common LRU)
//	free ──insert──▶ pending ──used up──▶ active (was looked up) ◀─┐ looked up
//	  ▲                             └───▶ inactive (was not) ──────┘
//	  └────────── a batch, from inactive's old end ◀── inactive
//
// A CPU takes free entries from the common lists a batch at a time. Taking
// gives the pending entries to the common lists first, then ages them a little:
// old active entries that nobody looked up become inactive, inactive ones that
// somebody did become active. What free entries are missing for the batch is
// evicted. With BPF_F_NO_COMMON_LRU each CPU has lists of its own, an equal
// share of the entries, and batches of four.
//
// The model is exact for operations that happen one after the other, whatever
// CPU each is on: a test compares it with the kernel (Linux 6.1 and 6.12).
// What it leaves out is what happens when CPUs race for the same lock or key.
//
// Only tests need it, those of the advice on sizes among them, which are here for that.
// A Map is for one goroutine. It costs 16 bytes an entry and 4 a key.
package lru
