// SPDX-License-Identifier: Apache-2.0

// Package lab is a small SNAT datapath that breaks connections the way
// Cilium's does: the same map names, keys, values and programs' names, the same
// choice of ports, on a real LRU map and real packets.
//
//	pod ──▶ to_netdev ──▶ tail_handle_snat_fwd_ipv{4,6} ──▶ uplink ──▶ server
//	pod ◀── tail_nodeport_nat_ingress_ipv{4,6} ◀── from_netdev ◀── uplink ◀──┘
//
// New loads it, Attach puts it on an uplink, Close takes it away. A Datapath is
// used by one goroutine at a time; what it does to packets needs none. Reports
// tell what Cilium's datapath would have told its agent, and so Hubble, of
// these packets, and which ports were chosen; DeleteOut, DeleteTracking and
// SetEgress may be called from any goroutine.
package lab
