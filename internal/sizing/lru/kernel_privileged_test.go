// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lru

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// TestPrivilegedModelIsExact has the kernel's map and the model do the same and
// wants the same results, and the same entries all the time.
func TestPrivilegedModelIsExact(t *testing.T) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{
		{Entries: 1000}, {Entries: 4096}, {Entries: 200}, // 200: CPUs rob each other
		{Entries: 1000, Distributed: true}, {Entries: 130, Distributed: true},
	} {
		c.CPUs = cpus
		if adjusts(t) {
			c.FreeTarget = FreeTarget(c.Entries, cpus)
		}
		for _, moves := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d entries, distributed %t, changing CPUs %t", c.Entries, c.Distributed, moves), func(t *testing.T) {
				compare(t, c, moves)
			})
		}
	}
}

// adjusts tells whether this kernel has smaller batches for small maps.
func adjusts(t *testing.T) bool {
	t.Helper()
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var s *btf.Struct
	if err := spec.TypeByName("bpf_lru", &s); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(s.Members, func(m btf.Member) bool { return m.Name == "target_free" })
}

// compare runs one trace. The thread changes CPUs between operations, never
// during one: so the order is always the same.
func compare(t *testing.T, c Config, moves bool) {
	k := newKernelMap(t, c)
	evicted := 0
	m, err := New(c, func(uint32, bool) { evicted++ })
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rng := rand.New(rand.NewPCG(1, uint64(c.Entries)))
	cpu, fresh := 0, uint32(0)
	pin(t, cpu)
	defer pin(t, 0)
	for step := range 12_000 {
		if moves && rng.IntN(40) == 0 {
			cpu = rng.IntN(c.CPUs)
			pin(t, cpu)
		}
		// Some keys are old, of which many have gone, the lowest are hot.
		key := rng.Uint32N(fresh + 1)
		if rng.IntN(2) == 0 {
			key = rng.Uint32N(uint32(c.Entries / 4))
		}
		var got, want string
		switch n := rng.IntN(20); {
		case n < 9:
			key = fresh
			fresh++
			got, want = result(k.Update(key, key, ebpf.UpdateAny)), "done"
			m.Update(cpu, key)
		case n < 10:
			got, want = result(k.Update(key, key, ebpf.UpdateAny)), "done"
			m.Update(cpu, key)
		case n < 11:
			got, want = result(k.Update(key, key, ebpf.UpdateNoExist)), result(m.Insert(cpu, key))
		case n < 12:
			got, want = fmt.Sprint(k.Delete(key) == nil), fmt.Sprint(m.Delete(key))
		default:
			got, want = fmt.Sprint(k.lookup(t, key)), fmt.Sprint(m.Lookup(key))
		}
		if got != want {
			t.Fatalf("step %d, CPU %d, key %d: the kernel says %s, the model %s", step, cpu, key, got, want)
		}
		if step%100 == 0 {
			k.same(t, m, step, max(fresh, uint32(c.Entries)))
		}
	}
	if evicted == 0 {
		t.Error("nothing was evicted")
	}
	t.Logf("%d entries inserted, %d evicted", fresh, evicted)
}

func result(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, ebpf.ErrKeyExist), errors.Is(err, ErrExists):
		return "exists"
	}
	return err.Error()
}

// pin moves the thread to a CPU.
func pin(t *testing.T, cpu int) {
	t.Helper()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
}

// kernelMap is the real thing, with a program that looks keys up: lookups by
// bpf(2) do not count as use.
type kernelMap struct {
	*ebpf.Map
	program *ebpf.Program
}

func newKernelMap(t *testing.T, c Config) *kernelMap {
	t.Helper()
	spec := &ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 4, ValueSize: 4, MaxEntries: uint32(c.Entries)}
	if c.Distributed {
		spec.Flags = unix.BPF_F_NO_COMMON_LRU
	}
	m, err := ebpf.NewMap(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "Dual BSD/GPL", // Linux before 5.14 has none for the purpose
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadAbs(0, asm.Word), // from the packet, in network order
			asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R0, 1),
			asm.Return().WithSymbol("out"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &kernelMap{m, p}
}

func (k *kernelMap) lookup(t *testing.T, key uint32) bool {
	t.Helper()
	packet := make([]byte, 64)
	binary.BigEndian.PutUint32(packet, key)
	found, err := k.program.Run(&ebpf.RunOptions{Data: packet})
	if err != nil {
		t.Fatal(err)
	}
	return found == 1
}

// same wants the model to hold the kernel's entries; keys are below limit.
func (k *kernelMap) same(t *testing.T, m *Map, step int, limit uint32) {
	t.Helper()
	keys, values := make([]uint32, k.MaxEntries()), make([]uint32, k.MaxEntries())
	var cursor ebpf.MapBatchCursor
	n, err := k.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Fatal(err)
	}
	keys = keys[:n]
	slices.Sort(keys)
	var want []uint32
	for key := range limit {
		if m.Has(key) {
			want = append(want, key)
		}
	}
	if !slices.Equal(keys, want) || m.Len() != len(want) {
		t.Fatalf("after step %d the kernel has %d entries, the model %d", step, len(keys), len(want))
	}
}
