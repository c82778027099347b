// SPDX-License-Identifier: Apache-2.0

// Package metrics is the reference of the metrics that the agent and the hub
// export: their names, types, labels and meaning, each said once. The exporters
// take their metrics from here, docs/metrics.md is generated from it, and the
// tests of alert rules and dashboards compare with it.
//
// All of it is constant and safe for concurrent use.
package metrics

//go:generate go run ./docgen ../../docs/metrics.md
