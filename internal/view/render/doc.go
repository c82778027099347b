// SPDX-License-Identifier: Apache-2.0

// Package render writes incidents for people and for programs, in the formats
// that hubble observe has for flows. What comes from pods (names, labels) is
// written without control characters, so that it cannot move a terminal's
// cursor. A Writer belongs to one goroutine.
package render
