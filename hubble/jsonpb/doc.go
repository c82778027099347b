// SPDX-License-Identifier: Apache-2.0

// Package jsonpb reads the JSON lines that hubble observe -o jsonpb prints.
//
//	line ─▶ Reader ──what the correlator needs──▶ *observer.GetFlowsResponse
//	          └─anything unexpected─▶ Parse, which reads all as protojson does
//
// A Reader belongs to one goroutine; Parse may be called from any.
package jsonpb
