// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"testing"

	"github.com/cilium/ebpf"
)

// programMaxInstructions is what "small" means for a hook.
const programMaxInstructions = 1000

// TestPrivilegedLoad has the verifier look at every program and prints how
// long they are.
func TestPrivilegedLoad(t *testing.T) {
	for _, b := range []Backend{Fentry, Kprobe} {
		for _, everything := range []bool{false, true} {
			tracer, err := New(Config{Backend: b, Everything: everything})
			if err != nil {
				t.Fatal(err)
			}
			for name, p := range tracer.kernel.collection.Programs {
				logLength(t, b, name, p)
			}
			if err := tracer.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func logLength(t *testing.T, b Backend, name string, p *ebpf.Program) {
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
	t.Logf("%s %s: %d instructions, %d bytes compiled, %d visited by the verifier", b, name, len(n), jited, verified)
	if len(n) > programMaxInstructions {
		t.Errorf("%s is longer than %d instructions", name, programMaxInstructions)
	}
}
