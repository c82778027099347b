// SPDX-License-Identifier: Apache-2.0

// Package guard keeps the NAT and connection tracking entries of connections
// that live: it has the kernel look them up often enough for its LRU to spare
// them, and evict what nobody needs.
//
//	flows ──▶ Flow ──▶ table ──▶ choose ──▶ Kernel.Touch ──▶ conditions ──▶ table
//	                               ▲ pace: updates of the maps since the last run
//	evictions ──▶ Change ──▶ what was lost although guarded
//
// Which connections live the program that looks decides, from Cilium's own
// connection tracking; flows only tell of which to ask. Run looks until its
// context ends. Flow, Change, Knows and Status may be called from any goroutine;
// the table's lock is held for as long as it takes to go through it.
package guard
