// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

// filter is user space's hand on the filter of bpf/filter.h: it remembers
// connections that lost an entry while no program saw it.
type filter struct {
	memory []byte
	cells  []uint16
	mask   uint64
	shift  uint8
	tick   time.Duration
}

func newFilter(lines *ebpf.Map, shift uint8, tick time.Duration) (*filter, error) {
	size := int(lines.MaxEntries()) * cellLine
	memory, err := unix.Mmap(lines.FD(), 0, (size+pageSize-1)/pageSize*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the filter: %w", err)
	}
	return &filter{
		memory: memory, cells: unsafe.Slice((*uint16)(unsafe.Pointer(&memory[0])), size/2),
		mask: uint64(lines.MaxEntries() - 1), shift: shift, tick: tick,
	}, nil
}

var pageSize = unix.Getpagesize()

func (f *filter) close() error { return unix.Munmap(f.memory) }

// ticksMargin is by how many of its units a removal is dated back. A time ahead
// of the kernel's ticks would count as older than any, and these trail the clock
// that they are worked out from by what passed at boot before the first.
const ticksMargin = 8

// now returns the date of what is removed now, in the filter's units.
func (f *filter) now() uint16 {
	return max(uint16(ticksAt(monotonicClock(), f.tick)>>f.shift)-ticksMargin, 1)
}

// add remembers a connection, as filter_add does for both of hash_entry's keys.
func (f *filter) add(tuple *correlator.Tuple, snat correlator.Addr, v6 bool, unit uint16) {
	f.store(hashOf(tuple, v6), unit)
	if !snat.IsZero() {
		f.store(hashOf(&correlator.Tuple{Src: snat, Dst: tuple.Dst, Protocol: tuple.Protocol}, v6), unit)
	}
}

// cellsPerLine is FILTER_LINE.
const cellsPerLine = cellLine / 2

// store dates the two cells of a hash, by plain stores as the programs do. One
// that a program dated meanwhile gets older by the margin.
func (f *filter) store(h uint64, unit uint16) {
	line := (h & f.mask) * cellsPerLine
	first := h >> 59
	second := (first + (h>>54 | 1)) % cellsPerLine
	f.cells[line+first], f.cells[line+second] = unit, unit
}

// hashOf is what the filter knows a pod and its server by, whatever address the
// pod is translated to.
func hashOf(tuple *correlator.Tuple, v6 bool) uint64 {
	return hashAddr(hashAddr(uint64(tuple.Protocol), tuple.Dst, v6), tuple.Src, v6)
}

func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>36
}

// hashAddr mixes an address and port in, as side4 and hash6 do.
func hashAddr(h uint64, a correlator.Addr, v6 bool) uint64 {
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], a.Port)
	n := uint64(binary.LittleEndian.Uint16(port[:]))
	if !v6 {
		return mix(h, uint64(binary.LittleEndian.Uint32(a.IP[12:]))|n<<32)
	}
	h = mix(h, binary.LittleEndian.Uint64(a.IP[:]))
	return mix(mix(h, binary.LittleEndian.Uint64(a.IP[8:])), n)
}
