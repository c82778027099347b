// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mapPlaces is the section of the array in bpf/watched.h.
const mapPlaces = ".data.places"

// places tells the programs which maps they watch. A map's place is its id
// modulo their number; who finds it taken is found in the hash map only
// (bpf/watched.h).
type places struct {
	all    *ebpf.Map // watching: a hash of all watched maps by id
	memory []byte
	words  []uint64 // watchWatched each, loaded and stored whole
}

func newPlaces(all, array *ebpf.Map) (*places, error) {
	size := int(array.MaxEntries() * array.ValueSize())
	memory, err := unix.Mmap(array.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the table of watched maps: %w", err)
	}
	return &places{all: all, memory: memory, words: unsafe.Slice((*uint64)(unsafe.Pointer(&memory[0])), size/8)}, nil
}

func (p *places) close() error { return unix.Munmap(p.memory) }

// add has a map watched.
func (p *places) add(w watchWatched) error {
	if err := p.all.Put(w.Map, w); err != nil {
		return err
	}
	was := p.at(w.Map)
	if was.Map == 0 {
		w.Shared = was.Shared
		p.put(w.Map, w)
	} else {
		was.Shared = 1
		p.put(w.Map, was)
	}
	return nil
}

// remove has a map watched no more. Its place stays shared: others may be
// found in the hash map only.
func (p *places) remove(id uint32) error {
	if was := p.at(id); was.Map == id {
		p.put(id, watchWatched{Shared: was.Shared})
	}
	if err := p.all.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

func (p *places) at(id uint32) watchWatched {
	word := atomic.LoadUint64(&p.words[id%uint32(len(p.words))])
	return *(*watchWatched)(unsafe.Pointer(&word))
}

func (p *places) put(id uint32, w watchWatched) {
	atomic.StoreUint64(&p.words[id%uint32(len(p.words))], *(*uint64)(unsafe.Pointer(&w)))
}
