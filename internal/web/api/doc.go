// SPDX-License-Identifier: Apache-2.0

// Package api serves a Board over HTTP, under /v1, as openapi.json describes:
//
//	/v1/incidents       the newest incidents, filtered and paged
//	/v1/incidents/{id}  one with its evidence, the verdict and a filter for Hubble
//	/v1/summary         counts by time, workload, destination and node
//	/v1/nodes           how the nodes are
//	/v1/advice          how large their NAT maps must be
//	/v1/events          what changes, as server-sent events
//
// Access decides who may ask. Handlers may be used from any goroutine.
package api

//go:generate go run ./openapigen openapi.json
