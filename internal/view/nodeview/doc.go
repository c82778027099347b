// SPDX-License-Identifier: Apache-2.0

// Package nodeview shows how nodes are doing: the verbs that kubectl renat has
// for a cluster and renat for one node.
//
//	fleet.Source ──▶ Nodes, Incidents, Describe, Advise, Top ──▶ a table, JSON, YAML or names
//
// Each verb is a struct with its options: Register makes flags of them, Run
// asks and writes. Data goes to Screen.Out, and who did not answer to
// Screen.Err; tables fit 120 columns, -o wide does not care. A verb is used by
// one goroutine, once.
package nodeview
