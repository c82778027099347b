// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/renat-project/renat/correlator"
)

// Lookup reads a NAT mapping as it is now: where the entry of tuple t in
// direction d translates to, and whether there is one. A lookup by syscall
// does not mark the entry as used, so it does not change what is evicted.
func (t *Tracer) Lookup(tuple correlator.Tuple, d correlator.Dir) (correlator.Addr, bool, error) {
	v6 := tuple.Src.AddrPort().Addr().Is6()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.sorted() {
		if m.CT || m.v6 != v6 {
			continue
		}
		value, err := m.fd.LookupBytes(m.key(tuple, d))
		if err != nil {
			return correlator.Addr{}, false, fmt.Errorf("looking up %s in %s: %w", tuple, m.Name, err)
		}
		if value != nil {
			return m.addr(value[valueTo:]), true, nil
		}
	}
	return correlator.Addr{}, false, nil
}

// Occupancy is how full a map is.
type Occupancy struct {
	Map     *correlator.Map
	Entries uint64
}

// ErrNoCount says that this kernel does not count the entries of LRU maps
// (Linux before 6.8): Count can.
var ErrNoCount = errors.New("this kernel does not count the entries of LRU maps")

// Occupancy reads how full the watched maps are from the kernel's own
// counters, at little cost; ErrNoCount where it has none.
func (t *Tracer) Occupancy() ([]Occupancy, error) {
	if t.occupancy == nil {
		return nil, ErrNoCount
	}
	entries, err := t.occupancy.read()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Occupancy
	for _, m := range t.sorted() {
		all = append(all, Occupancy{Map: m.Map, Entries: entries[m.ID]})
	}
	return all, nil
}

// occupancy runs the map iterator of bpf/occupancy.bpf.c.
type occupancy struct {
	objects occupancyObjects
	link    *link.Iter
}

// newOccupancy returns nil where the kernel does not count LRU maps. That
// cannot be read off its version or types, so it is tried.
func newOccupancy() *occupancy {
	o := &occupancy{}
	if err := loadOccupancyObjects(&o.objects, nil); err != nil {
		return nil
	}
	if o.counts() {
		return o
	}
	o.close()
	return nil
}

// counts tries the iterator on a map with one entry.
func (o *occupancy) counts() bool {
	var err error
	if o.link, err = link.AttachIter(link.IterOptions{Program: o.objects.CountEntries}); err != nil {
		return false
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "renat_probe", Type: ebpf.LRUHash, KeySize: 4, ValueSize: 4, MaxEntries: 16})
	if err != nil {
		return false
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil || m.Put(uint32(1), uint32(1)) != nil {
		return false
	}
	id, _ := info.ID()
	entries, err := o.read()
	return err == nil && entries[uint32(id)] == 1
}

// read returns the number of entries of every LRU map, by id.
func (o *occupancy) read() (map[uint32]uint64, error) {
	r, err := o.link.Open()
	if err != nil {
		return nil, fmt.Errorf("reading the maps' occupancy: %w", err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the maps' occupancy: %w", err)
	}
	const size = int(unsafe.Sizeof(occupancyOccupancy{}))
	entries := map[uint32]uint64{}
	for ; len(raw) >= size; raw = raw[size:] {
		entries[binary.LittleEndian.Uint32(raw[8:])] = binary.LittleEndian.Uint64(raw)
	}
	return entries, nil
}

// close frees the iterator; a nil one has nothing to free.
func (o *occupancy) close() error {
	if o == nil {
		return nil
	}
	var errs []error
	if o.link != nil {
		errs = append(errs, o.link.Close())
	}
	return errors.Join(append(errs, o.objects.Close())...)
}
