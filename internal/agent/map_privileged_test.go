// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
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

// ciliumMap is a NAT map in the kernel, as Cilium would make it.
type ciliumMap struct {
	t testing.TB
	*ebpf.Map
	others int // entries inserted of which Hubble sees nothing
}

const ciliumMapSize = 512

// newCiliumMap makes a map and pins it below bpffs in the place of the one
// that is there.
func newCiliumMap(t testing.TB, bpffs string) *ciliumMap {
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
	return &ciliumMap{t: t, Map: m}
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
			if err := m.Put(keyOf(e), valueOf(e.NAT.To.AddrPort())); err != nil {
				m.t.Errorf("inserting %s: %v", e.Tuple, err)
			}
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
	keys, values := make([]natKey, n), make([]natValue, n)
	for i := range keys {
		m.others++
		keys[i] = natKey{
			Source: [4]byte{172, 16, 0, 1}, SourcePort: bigEndian(uint16(m.others)),
			Destination: [4]byte{198, 18, 0, byte(m.others >> 16)}, DestinationPort: bigEndian(443), Protocol: 6,
		}
		values[i] = valueOf(netip.AddrPortFrom(snatIP, uint16(m.others)))
	}
	if _, err := m.BatchUpdate(keys, values, nil); err != nil {
		m.t.Error(err)
	}
}
