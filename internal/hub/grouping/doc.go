// SPDX-License-Identifier: Apache-2.0

// Package grouping makes one notification of many incidents. It is pure: no
// I/O, no clock, no goroutine; time is given.
//
//	Add ──▶ group of its labels ──▶ threshold ──▶ wait ──▶ Take: a Batch ──▶ Done
//	                                                          (one a group at a time)
//
// A Grouper belongs to one goroutine.
package grouping
