// SPDX-License-Identifier: Apache-2.0

// Package page is what people see in a browser: one page with three views of
// what a board holds, served from files inside the binary. It asks /v1 for
// everything it shows, so its own files hold nothing that needs protection.
//
// Its source is in web/, in TypeScript; go generate makes static/ from it, if
// there is npm. What is in static/ is committed, so that go build needs none.
package page

//go:generate sh web/generate.sh
