// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
)

const kallsymsFile = "/proc/kallsyms"

// readSymbols calls visit for every symbol of a file in kallsyms' format whose
// line ends so; module is "bpf" for compiled BPF programs.
func readSymbols(r io.Reader, end string, visit func(address uint64, name, module []byte)) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if !bytes.HasSuffix(lines.Bytes(), []byte(end)) {
			continue
		}
		hex, rest, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		address, err := strconv.ParseUint(string(hex), 16, 64)
		if err != nil || len(rest) < 3 {
			return fmt.Errorf("reading kernel symbols: line %q is none", lines.Bytes())
		}
		name, module, _ := bytes.Cut(rest[2:], []byte("\t"))
		visit(address, name, bytes.Trim(module, "[]"))
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading kernel symbols: %w", err)
	}
	return nil
}

// kernelAddresses are the fixed addresses that the programs need to tell who
// called; all are 0 if the kernel hides them.
type kernelAddresses struct {
	textStart, textEnd uint64
	update, remove     uint64
	updateHelper       addressRange // bpf_map_update_elem, which programs call
	removeHelper       addressRange // bpf_map_delete_elem
}

// addressRange is a function's code; its end is where the next one begins.
type addressRange struct{ start, end uint64 }

// see narrows the range by a symbol that is not of the function.
func (r *addressRange) see(address uint64) {
	if r.start != 0 && address > r.start && (r.end == 0 || address < r.end) {
		r.end = address
	}
}

func readKernelAddresses(file string) (kernelAddresses, error) {
	var a kernelAddresses
	f, err := os.Open(file)
	if err != nil {
		return a, fmt.Errorf("reading kernel symbols: %w", err)
	}
	defer f.Close()
	err = readSymbols(f, "", func(address uint64, name, module []byte) {
		if len(module) > 0 {
			return
		}
		a.updateHelper.see(address)
		a.removeHelper.see(address)
		switch string(name) {
		case "bpf_map_update_elem":
			a.updateHelper.start = address
		case "bpf_map_delete_elem":
			a.removeHelper.start = address
		case "_stext":
			a.textStart = address
		case "_etext":
			a.textEnd = address
		case "htab_lru_map_update_elem":
			a.update = address
		case "htab_lru_map_delete_elem":
			a.remove = address
		}
	})
	return a, err
}
