// SPDX-License-Identifier: Apache-2.0

// Package lab makes Cilium's NAT failure on one machine and checks what renat
// says of it:
//
//	 pod namespace          node namespace              outside namespace
//	clients ──veth──▶ [datapath, small LRU maps] ──veth──▶ servers
//	                     │ reports        │ maps
//	                     ▼                ▼
//	           Observer (Hubble) ──▶ renat agent ──▶ NATS ──▶ score ◀── account
//
// The datapath is that of bpf/lab, the connections are real TCP, the agent is
// the one that runs on a node. The account is what the clients saw, and which
// ports the datapath says it chose; the score compares it with the incidents
// that are stored in NATS JetStream.
//
// New checks a Config, Run does all; a Lab runs once. Everything in the kernel
// (namespaces, links, maps, programs, the file system of the pins) is held by
// file descriptors of this process only: nothing outlives it, however it ends.
// It needs root.
package lab
