// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf/link"
)

// program is the code of a compiled BPF program, or of a trampoline (no name).
type program struct {
	start, end uint64
	name       string
}

// programTagLen is the length of "bpf_prog_" and a tag of 8 bytes in hex.
const programTagLen = len("bpf_prog_") + 16

// programName returns the name within a symbol's, "" if it is no program's.
// It is whole, not cut to 15 characters as in bpf_prog_info.
func programName(symbol []byte) string {
	if !bytes.HasPrefix(symbol, []byte("bpf_prog_")) || len(symbol) <= programTagLen+1 {
		return ""
	}
	return string(symbol[programTagLen+1:])
}

// programAt names the program that an address lies in, "" if none.
func programAt(all []program, address uint64) string {
	i, found := slices.BinarySearchFunc(all, address, func(p program, a uint64) int { return cmp.Compare(p.start, a) })
	if !found {
		i--
	}
	if i < 0 || address >= all[i].end {
		return ""
	}
	return all[i].name
}

func sortPrograms(all []program) {
	slices.SortFunc(all, func(a, b program) int { return cmp.Compare(a.start, b.start) })
}

// jited runs the iterator of bpf/jited.bpf.c.
type jited struct {
	objects jitedObjects
	link    *link.Iter
}

// newJited returns nil where the kernel lists no programs.
func newJited() *jited {
	j := &jited{}
	if err := loadJitedObjects(&j.objects, nil); err != nil {
		return nil
	}
	var err error
	if j.link, err = link.AttachIter(link.IterOptions{Program: j.objects.ListJited}); err != nil {
		j.close()
		return nil
	}
	return j
}

// list returns the compiled programs, sorted by address; without an iterator it
// reads all of the kernel's symbols for them.
func (j *jited) list() ([]program, error) {
	if j == nil {
		return readPrograms(kallsymsFile)
	}
	r, err := j.link.Open()
	if err != nil {
		return nil, fmt.Errorf("listing the BPF programs: %w", err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("listing the BPF programs: %w", err)
	}
	const size = int(unsafe.Sizeof(jitedJited{}))
	all := make([]program, 0, len(raw)/size)
	for ; len(raw) >= size; raw = raw[size:] {
		record := (*jitedJited)(unsafe.Pointer(&raw[0]))
		name, _, _ := bytes.Cut(raw[unsafe.Offsetof(record.Name):size], []byte{0})
		all = append(all, program{record.Start, record.End, programName(name)})
	}
	sortPrograms(all)
	return all, nil
}

// close frees the iterator; a nil one has nothing to free.
func (j *jited) close() error {
	if j == nil {
		return nil
	}
	var errs []error
	if j.link != nil {
		errs = append(errs, j.link.Close())
	}
	return errors.Join(append(errs, j.objects.Close())...)
}

// programMax is larger than any compiled program: a million instructions
// are the verifier's limit, but no image comes near this.
const programMax = 4 << 20

// readPrograms returns the compiled BPF programs that a file in kallsyms' format
// has, sorted by address. It does not say where they end: at the next, or at programMax.
func readPrograms(file string) ([]program, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading kernel symbols: %w", err)
	}
	defer f.Close()
	var all []program
	err = readSymbols(f, "\t[bpf]", func(address uint64, name, _ []byte) {
		if address != 0 {
			all = append(all, program{address, address + programMax, programName(name)})
		}
	})
	sortPrograms(all)
	for i := range len(all) - 1 {
		all[i].end = min(all[i].end, all[i+1].start)
	}
	return all, err
}
