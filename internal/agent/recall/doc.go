// SPDX-License-Identifier: Apache-2.0

// Package recall remembers what broke lately and how connections are, or were,
// translated, so that it can be told of every flow of theirs.
//
//	incidents ──Book.Add──┐
//	                      ├─▶ Book.Find ◀── enrich
//	NAT map ──Mapping─────┘
//
// All methods may be called from any goroutine.
package recall
