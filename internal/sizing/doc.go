// SPDX-License-Identifier: Apache-2.0

// Package sizing works out how large Cilium's NAT map must be, and how to tell
// Cilium: from what was measured on the nodes and the cluster's settings.
//
// The law is that nothing may be evicted. A map that evicts a little is no
// smaller solution: package lru shows that the kernel's lists, after hours of
// steady eviction, hold nearly everything on the active list, and from then on
// take entries in use, new ones first. So a map must hold, at the worst moment,
//
//	the entries of open connections
//	+ those of closed ones that Cilium has not collected yet
//	+ what each CPU keeps aside (common LRU), or the CPUs' unequal shares (distributed)
//
// Everything here is a function of its arguments and may be called from any
// goroutine. Numbers of Cilium are those of its versions 1.12 to 1.20.
package sizing
