// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/renat-project/renat/correlator"
)

const symbolsText = `ffffffff81000000 T _stext
ffffffff81345670 t htab_lru_map_delete_elem
ffffffff81345780 t htab_lru_map_update_elem
ffffffff81400000 T bpf_map_update_elem
ffffffff81400040 T bpf_map_delete_elem
ffffffff81400080 t some_other
ffffffff82000000 T _etext
ffffffffc0100000 t veth_xmit	[veth]
ffffffffc0202000 t bpf_prog_6deef7357e7b4530_tail_nodeport_nat_ingress_ipv4	[bpf]
ffffffffc0200000 t bpf_prog_0011223344556677_tail_handle_snat_fwd_ipv4	[bpf]
ffffffffc0201000 t bpf_trampoline_6442494723	[bpf]
`

func symbolsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kallsyms")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listed lists the programs of such a file.
func listed(t *testing.T, text string) func() ([]program, error) {
	file := symbolsFile(t, text)
	return func() ([]program, error) { return readPrograms(file) }
}

func TestKernelAddresses(t *testing.T) {
	got, err := readKernelAddresses(symbolsFile(t, symbolsText))
	want := kernelAddresses{textStart: 0xffffffff81000000, textEnd: 0xffffffff82000000, update: 0xffffffff81345780, remove: 0xffffffff81345670,
		updateHelper: addressRange{0xffffffff81400000, 0xffffffff81400040}, removeHelper: addressRange{0xffffffff81400040, 0xffffffff81400080}}
	if err != nil || got != want {
		t.Errorf("got %+x, %v", got, err)
	}
	if _, err := readKernelAddresses(symbolsFile(t, "not a symbol\n")); err == nil {
		t.Error("nonsense was taken for symbols")
	}
}

func TestProgramAt(t *testing.T) {
	all, err := readPrograms(symbolsFile(t, symbolsText))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[uint64]string{
		0xffffffffc0200000: "tail_handle_snat_fwd_ipv4",
		0xffffffffc0200123: "tail_handle_snat_fwd_ipv4",
		0xffffffffc0201010: "", // a trampoline
		0xffffffffc0202fff: "tail_nodeport_nat_ingress_ipv4",
		0xffffffffc01fffff: "",
		0xffffffffc0f02000: "", // too far behind the last
	} {
		if got := programAt(all, address); got != want {
			t.Errorf("%x is in %q, want %q", address, got, want)
		}
	}
}

// TestCallers wants names to follow programs that come and go.
func TestCallers(t *testing.T) { synctest.Test(t, callersWithoutTime) }

// callersWithoutTime has no second pass, however busy the machine is.
func callersWithoutTime(t *testing.T) {
	named := uint64(1)
	c := callers{list: listed(t, symbolsText), named: func() (uint64, error) { return named, nil }}
	e := &watchEvent{Caller: 0xffffffffc0200123}
	first := c.of(e)
	if first == nil || first.Program != "tail_handle_snat_fwd_ipv4" || c.of(e) != first {
		t.Fatalf("got %+v", first)
	}
	e.Caller = 0xffffffffc0101010
	if got := c.of(e); got != nil {
		t.Errorf("a module's address is %+v", got)
	}
	c.list = listed(t, "ffffffffc0101000 t bpf_prog_0011223344556677_cil_to_netdev	[bpf]\n")
	if got := c.of(e); got != nil {
		t.Errorf("read again though no program came: %+v", got)
	}
	named++
	if got := c.of(&watchEvent{Caller: 0xffffffff00000000}); got != nil || c.at != named {
		t.Errorf("a nameless address is %+v, symbols of %d", got, c.at)
	}
	for range 3 {
		named++
		c.of(&watchEvent{Caller: 0xffffffff00000000})
	}
	if c.at != named-3 {
		t.Error("the symbols were read for each event without a name")
	}
	if got := c.of(e); got == nil || got.Program != "cil_to_netdev" {
		t.Errorf("after a program came: %+v", got)
	}
	e.Flags = uint8(watchEventFlagEVENT_SYSCALL)
	copy(e.Comm[:], "cilium-agent")
	if got := c.of(e); got == nil || *got != (correlator.Caller{Program: correlator.ProgramSyscall, Comm: "cilium-agent"}) {
		t.Errorf("a syscall is %+v", got)
	}
}

// BenchmarkPrograms finds a thousand programs, as root: among the kernel's symbols,
// and in its list of programs.
func BenchmarkPrograms(b *testing.B) {
	for range 1000 {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
	}
	j := newJited()
	if j == nil {
		b.Fatal("the kernel does not list its programs")
	}
	defer j.close()
	for name, list := range map[string]func() ([]program, error){
		"symbols": func() ([]program, error) { return readPrograms(kallsymsFile) }, "list": j.list,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if all, err := list(); err != nil || len(all) < 1000 {
					b.Fatalf("%d programs, %v", len(all), err)
				}
			}
		})
	}
}
