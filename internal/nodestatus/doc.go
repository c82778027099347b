// SPDX-License-Identifier: Apache-2.0

// Package nodestatus defines how a node is doing, as its agent tells: the JSON
// of the agent's /v1/status and of its key in NATS.
//
// It holds types and the questions that can be answered from them alone, so
// that whoever reads a status (plugin, page, hub) needs nothing of the agent.
// Values are plain data: whoever holds one may change it.
package nodestatus
