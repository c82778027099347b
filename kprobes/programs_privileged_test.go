// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// TestPrivilegedPrograms compares the kernel's list of programs with its symbols.
func TestPrivilegedPrograms(t *testing.T) {
	j := newJited()
	if j == nil {
		t.Fatal("the kernel lists no programs")
	}
	defer j.close()
	newUser(t, newMap(t, newBPFFS(t), "cilium_snat_v4_external", nat4, 64), nat4)
	loadWithFunctions(t)
	start := time.Now()
	listed, err := j.list()
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	start = time.Now()
	read, err := readPrograms(kallsymsFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pieces of programs listed in %s, %d read of all symbols in %s", len(listed), took, len(read), time.Since(start))
	var names []string
	for _, p := range read {
		if got := programAt(listed, p.start); got != p.name {
			t.Errorf("%x is in %q, want %q", p.start, got, p.name)
		}
		names = append(names, p.name)
	}
	for _, name := range []string{"tail_handle_snat_fwd_for_tests", "matching"} {
		if !slices.Contains(names, name) {
			t.Errorf("no symbol has the name %s, of %q", name, names)
		}
	}
	for _, p := range listed {
		if p.end <= p.start || programAt(read, p.end-1) != p.name {
			t.Errorf("%+v ends in %q", p, programAt(read, p.end-1))
		}
	}
}

// loadWithFunctions loads a program that has functions of its own.
func loadWithFunctions(t *testing.T) {
	t.Helper()
	spec, err := loadWatch()
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(spec.Programs, func(name string, p *ebpf.ProgramSpec) bool {
		dropKernelCalls(p.Instructions)
		return name != watchProgEvictReturn
	})
	if err := spec.Variables[watchVarTraceable].Set(true); err != nil {
		t.Fatal(err)
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
}
