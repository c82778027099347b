// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// TestPrivilegedUnsure has a program change a map that the verifier cannot tell:
// the kernel's helpers are what calls the map's functions then. Where there is
// fentry the program is named. Kprobes name it where the helper leaves no frame,
// as that of Debian's Linux 6.12 on amd64, else nobody. The process that was
// interrupted is not blamed, as if it had made a syscall.
func TestPrivilegedUnsure(t *testing.T) {
	program := correlator.Caller{Program: unsureProgram}
	for _, b := range backends(t) {
		t.Run(string(b), func(t *testing.T) {
			bpffs := newBPFFS(t)
			maps := map[string]*ebpf.Map{}
			for name, l := range natLayouts {
				maps[name] = newMap(t, bpffs, name, l, 64)
			}
			r := record(t, Config{Backend: b, Everything: true, BPFFS: bpffs}, 2)
			for name, l := range natLayouts {
				u := newUser(t, maps[name], l)
				spare := l.op(doDelete, first(l), 0)
				spare.Spare = 1
				u.run(t, u.objects.TailUnsureForTests, []opsOp{l.op(doUpdate, first(l), 0), spare, l.op(doDelete, first(l), 0)})
				got := r.take(t)
				if len(got) != 2 || got[0].NAT.Op != correlator.Insert || got[1].NAT.Op != correlator.Delete {
					t.Fatalf("%s: %+v", name, got)
				}
				for _, e := range got {
					by := e.NAT.Caller
					if by == nil && b == Fentry || by != nil && *by != program || e.Tuple != first(l).tuple || e.NAT.Errno != 0 {
						t.Errorf("%s: %v %v errno %d by %+v", name, e.NAT.Op, e.Tuple, e.NAT.Errno, by)
					}
					t.Logf("%s: %v by %+v", name, e.NAT.Op, by)
				}
				if c := r.of(t, name); c.DeletesSyscall != 0 || c.DeletesProgram != 1 || c.DeletesUnknown != 0 {
					t.Errorf("%s: counted %+v", name, c)
				}
			}
		})
	}
}
