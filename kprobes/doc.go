// SPDX-License-Identifier: Apache-2.0

// Package kprobes watches Cilium's NAT and CT maps in the kernel: every
// insert, eviction and delete, with the program that did it.
//
//	Cilium's programs, agent ──▶ LRU map ──▶ hooks (bpf/) ──▶ ring buffer ──▶ Tracer.Run ──▶ emit
//	                                          │ counters, filter
//	                                          └──▶ Tracer.Stats
//
// New loads the programs of bpf/ and attaches them, with fentry and fexit
// where the kernel has them and kprobes where not. Run finds the maps, watches
// them until its context ends and calls emit, from Run's goroutine only and
// in the ring buffer's order, for each operation, for each loss and for each
// map that was replaced. Call Run once, and Close once after it returned.
// Stats, Updates, Status, Lookup, Occupancy, Touch and Trace may be called from any
// goroutine between New and Close.
//
// Trace sends all operations on the entries of chosen connections to its own
// emit, from a goroutine of its own, until it is closed.
//
// Touch is the other direction: it has a program of bpf/guard.bpf.c look up
// entries, which makes the kernel keep them.
package kprobes
