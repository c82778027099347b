// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"runtime"
	"testing"
)

// programMaxInstructions is what "small" means for a hook, with what only traces
// need, and with code of its own for NAT maps of IPv4. Of the same program the
// kernel makes more on arm64.
var programMaxInstructions = map[string]int{"amd64": 2000, "arm64": 2100}[runtime.GOARCH]

// logLengths prints how long the programs are that the verifier took.
func logLengths(t *testing.T, tracer *Tracer) {
	t.Helper()
	for name, p := range tracer.kernel.collection.Programs {
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		n, err := info.Instructions()
		if err != nil {
			t.Fatal(err)
		}
		jited, _ := info.JitedSize()
		verified, _ := info.VerifiedInstructions()
		t.Logf("%s: %d instructions, %d bytes compiled, %d visited by the verifier", name, len(n), jited, verified)
		if len(n) > programMaxInstructions {
			t.Errorf("%s is longer than %d instructions", name, programMaxInstructions)
		}
	}
}
