// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/kprobes"
)

// The layout of Cilium's NAT map for IPv4: keys of 14 bytes, in network order.
type natKey struct {
	Destination, Source         [4]byte
	DestinationPort, SourcePort [2]byte
	Protocol, Direction         uint8
}

type natValue struct {
	_    [32]byte
	IP   [4]byte
	Port [2]byte
	_    [2]byte
}

// ciliumMap is a NAT map in the kernel, as Cilium would make it. Entries are
// inserted by syscall or, since kprobes do not see those, by a program.
type ciliumMap struct {
	t testing.TB
	*ebpf.Map
	insert *ebpf.Program // nil: by syscall
	others int           // entries inserted of which Hubble sees nothing
}

const ciliumMapSize = 512

// newCiliumMap makes a map to be watched with a backend, and pins it below bpffs
// in the place of the one that is there.
func newCiliumMap(t testing.TB, bpffs string, b kprobes.Backend) *ciliumMap {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: natMap.Name[:15], Type: ebpf.LRUHash, KeySize: 14, ValueSize: 40, MaxEntries: ciliumMapSize,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	dir := filepath.Join(bpffs, "tc/globals")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, natMap.Name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := m.Pin(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Join(bpffs, "tc")) })
	c := &ciliumMap{t: t, Map: m}
	if b == kprobes.Kprobe {
		c.insert = newInsert(t, m)
	}
	return c
}

// newInsert loads a program that inserts the key and the value in its packet, and
// then adds one to the key's source address: repeated, it inserts others.
func newInsert(t testing.TB, m *ebpf.Map) *ebpf.Program {
	t.Helper()
	const keySize, packetSize, source = 14, 14 + 40, 4
	const data, dataEnd = 76, 80 // in struct __sk_buff
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: snatTail.Program[:15], Type: ebpf.SchedCLS, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R0, -1),
			asm.LoadMem(asm.R7, asm.R1, data, asm.Word),
			asm.LoadMem(asm.R8, asm.R1, dataEnd, asm.Word),
			asm.Mov.Reg(asm.R2, asm.R7),
			asm.Add.Imm(asm.R2, packetSize),
			asm.JGT.Reg(asm.R2, asm.R8, "out"),
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.Mov.Reg(asm.R2, asm.R7),
			asm.Mov.Reg(asm.R3, asm.R7),
			asm.Add.Imm(asm.R3, keySize),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnMapUpdateElem.Call(),
			asm.LoadMem(asm.R1, asm.R7, source, asm.Word),
			asm.HostTo(asm.BE, asm.R1, asm.Word),
			asm.Add.Imm(asm.R1, 1),
			asm.HostTo(asm.BE, asm.R1, asm.Word),
			asm.StoreMem(asm.R7, source, asm.R1, asm.Word),
			asm.Return().WithSymbol("out"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// put inserts n entries, of which the first is given; each other's source address
// is the next one.
func (m *ciliumMap) put(key natKey, value natValue, n int) {
	m.t.Helper()
	if m.insert == nil {
		keys, values := make([]natKey, n), slices.Repeat([]natValue{value}, n)
		source := binary.BigEndian.Uint32(key.Source[:])
		for i := range keys {
			keys[i] = key
			binary.BigEndian.PutUint32(keys[i].Source[:], source+uint32(i))
		}
		if _, err := m.BatchUpdate(keys, values, nil); err != nil {
			m.t.Errorf("inserting %v: %v", key, err)
		}
		return
	}
	packet, err := binary.Append(nil, binary.BigEndian, struct {
		natKey
		natValue
	}{key, value})
	if err != nil {
		m.t.Error(err)
		return
	}
	if failed, err := m.insert.Run(&ebpf.RunOptions{Data: packet, Repeat: uint32(n)}); failed != 0 || err != nil {
		m.t.Errorf("inserting %v: %d, %v", key, int32(failed), err)
	}
}

func keyOf(e correlator.Event) natKey {
	src, dst := e.Tuple.Src.AddrPort(), e.Tuple.Dst.AddrPort()
	k := natKey{
		Source: src.Addr().As4(), SourcePort: bigEndian(src.Port()),
		Destination: dst.Addr().As4(), DestinationPort: bigEndian(dst.Port()), Protocol: 6,
	}
	if e.NAT.Dir == correlator.In {
		k.Direction = 1
	}
	return k
}

func valueOf(to netip.AddrPort) natValue {
	return natValue{IP: to.Addr().As4(), Port: bigEndian(to.Port())}
}

func bigEndian(port uint16) [2]byte { return [2]byte{byte(port >> 8), byte(port)} }

// do makes the kernel do what the events tell.
func (m *ciliumMap) do(events ...correlator.Event) {
	m.t.Helper()
	for _, e := range events {
		switch e.NAT.Op {
		case correlator.Insert:
			m.put(keyOf(e), valueOf(e.NAT.To.AddrPort()), 1)
		case correlator.Evict:
			m.evict(keyOf(e))
		}
	}
}

// admit inserts the entries of a new connection.
func (m *ciliumMap) admit(c connection) {
	m.do(change(correlator.Insert, correlator.In, c.server, c.before, c.pod),
		change(correlator.Insert, correlator.Out, c.pod, c.server, c.before))
}

// evict inserts others until the kernel has evicted an entry. It leaves a
// reader the time to keep up.
func (m *ciliumMap) evict(key natKey) {
	m.t.Helper()
	for range 100 {
		var value natValue
		err := m.Lookup(key, &value)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return
		}
		if err != nil {
			m.t.Error(err)
			return
		}
		m.crowd(32)
		time.Sleep(5 * time.Millisecond)
	}
	m.t.Errorf("the kernel does not evict %v", key)
}

// crowd inserts n entries of other connections.
func (m *ciliumMap) crowd(n int) {
	m.t.Helper()
	key := natKey{Destination: [4]byte{198, 18}, DestinationPort: bigEndian(443), SourcePort: bigEndian(1024), Protocol: 6}
	binary.BigEndian.PutUint32(key.Source[:], 172<<24+16<<16+uint32(m.others))
	m.put(key, valueOf(netip.AddrPortFrom(snatIP, 1024)), n)
	m.others += n
}
