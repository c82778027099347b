// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// onlyLooks reads instructions and refuses what could change a map of Cilium's:
// any call but those of a look-up, a loop and a clock, any store but to the
// stack and of the answer.
func onlyLooks(instructions asm.Instructions) error {
	allowed := []asm.BuiltinFunc{asm.FnMapLookupElem, asm.FnForEachMapElem, asm.FnKtimeGetNs, asm.FnJiffies64}
	answer := int16(unsafe.Offsetof(guardGuardRecord{}.Status))
	for i, in := range instructions {
		class := in.OpCode.Class()
		switch {
		case in.IsBuiltinCall():
			if !slices.Contains(allowed, asm.BuiltinFunc(in.Constant)) {
				return fmt.Errorf("instruction %d calls %s", i, asm.BuiltinFunc(in.Constant))
			}
		case in.OpCode.JumpOp() == asm.Call:
			return fmt.Errorf("instruction %d calls a function: %v", i, in)
		case class == asm.StClass, class == asm.StXClass:
			toStack := in.Dst == asm.RFP && in.OpCode.Mode() == asm.MemMode
			isAnswer := in.OpCode == asm.StoreMemOp(asm.Word) && in.Offset == answer
			if !toStack && !isAnswer {
				return fmt.Errorf("instruction %d writes: %v", i, in)
			}
		}
	}
	return nil
}

// TestGuardOnlyLooks reads what is committed, of both architectures.
func TestGuardOnlyLooks(t *testing.T) {
	for _, object := range []string{"guard_x86_bpfel.o", "guard_arm64_bpfel.o"} {
		spec, err := ebpf.LoadCollectionSpec(object)
		if err != nil {
			t.Fatal(err)
		}
		if len(spec.Programs) != 2 {
			t.Errorf("%s has %d programs", object, len(spec.Programs))
		}
		for name, p := range spec.Programs {
			if err := onlyLooks(p.Instructions); err != nil {
				t.Errorf("%s of %s: %v", name, object, err)
			}
			if n := strings.Count(fmt.Sprint(p.Instructions), asm.FnMapLookupElem.String()); n < 3 {
				t.Errorf("%s of %s looks up %d times: this test does not see its callback", name, object, n)
			}
		}
	}
}

// TestGuardRefusesWrites shows that the reader of TestGuardOnlyLooks sees what
// it is for, in the program that has it.
func TestGuardRefusesWrites(t *testing.T) {
	spec, err := ebpf.LoadCollectionSpec("guard_x86_bpfel.o")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []asm.Instruction{
		asm.FnMapUpdateElem.Call(),
		asm.FnMapDeleteElem.Call(),
		asm.FnProbeWriteUser.Call(),
		asm.StoreMem(asm.R0, valueTo, asm.R1, asm.DWord),
		asm.StoreImm(asm.R0, valueCTFlags, 0, asm.Half),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.Word, 40),
		{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall},
		{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: -1},
	} {
		if err := onlyLooks(append(slices.Clone(spec.Programs[guardProgGuard4].Instructions), bad)); err == nil {
			t.Errorf("%v was let through", bad)
		}
	}
}

func TestGuardWindow(t *testing.T) {
	spec, err := loadGuard()
	if err != nil {
		t.Fatal(err)
	}
	window := spec.Maps[guardMapWindow]
	if window.MaxEntries != guardWindow || window.ValueSize != uint32(unsafe.Sizeof(guardGuardRecord{})) {
		t.Errorf("the window has %d records of %d bytes", window.MaxEntries, window.ValueSize)
	}
	if guardGuardStatusGUARD_HOST != guardGuardStatus(HostsOwn) || conditionMax != int(HostsOwn)+1 {
		t.Error("the conditions are not the program's")
	}
}
