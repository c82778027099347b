// SPDX-License-Identifier: Apache-2.0

// Package sysdump makes the bundle that a report of a bug needs: what agents and
// hubs tell of themselves, their logs and settings, in a tar.gz.
//
//	Parts ── fetched, several at a time ──▶ Redactor ──▶ tar.gz
//
// A part that cannot be had costs itself and nothing else; the bundle says why.
// Bundle and Redactor are used by one goroutine; parts are fetched by several.
package sysdump
