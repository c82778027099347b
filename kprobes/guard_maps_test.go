// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/renat-project/renat/correlator"
)

// These tests need no hooks, so they run on any kernel that has the guard's
// programs, as root; those named TestPrivileged in virtual machines, too.

// older reports whether the kernel is older than Linux major.minor.
func older(t testing.TB, major, minor uint32) bool {
	t.Helper()
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	return version < major<<16|minor<<8
}

// noGuard reports whether this kernel has no guard; it wants to be told so.
func (c *ciliums) noGuard() bool {
	c.t.Helper()
	if !older(c.t, 5, 14) {
		return false
	}
	err := c.tracer.Touch([]Touched{{Tuple: c.tuple(1)}}, false)
	if !errors.Is(err, ErrNoGuard) || !strings.Contains(err.Error(), release()) || len(c.tracer.guards) != 0 {
		c.t.Errorf("%v", err)
	}
	return true
}

// ciliums are maps as Cilium makes them, by their names, and a tracer that
// knows them.
type ciliums struct {
	t      testing.TB
	v6     bool
	flags  uint32
	tracer *Tracer
	maps   map[string]*cilium
}

func newCiliums(t testing.TB, v6 bool, entries, flags uint32) *ciliums {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	length, err := tick()
	if err != nil {
		t.Fatal(err)
	}
	c := &ciliums{
		t: t, v6: v6, flags: flags, maps: map[string]*cilium{},
		tracer: &Tracer{watching: map[uint32]*cilium{}, guards: map[bool]*guard{}, tick: length},
	}
	for _, name := range ciliumNames[v6] {
		c.add(name, entries)
	}
	t.Cleanup(func() {
		for _, g := range c.tracer.guards {
			g.close()
		}
		for _, m := range c.maps {
			m.fd.Close()
		}
	})
	return c
}

// add makes a map, in place of one that has the name.
func (c *ciliums) add(name string, entries uint32) {
	c.t.Helper()
	l, _ := layoutOf(name)
	fd, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name[:nameMax], Type: ebpf.LRUHash, KeySize: l.key, ValueSize: l.value, MaxEntries: entries, Flags: c.flags,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := describe(fd, name, l)
	if err != nil {
		c.t.Fatal(err)
	}
	c.tracer.mu.Lock()
	defer c.tracer.mu.Unlock()
	if old := c.maps[name]; old != nil {
		delete(c.tracer.watching, old.ID)
		old.fd.Close()
	}
	c.maps[name], c.tracer.watching[m.ID] = m, m
}

func (c *ciliums) nat() *cilium { return c.maps[ciliumNames[c.v6][0]] }

func (c *ciliums) ct(p correlator.Protocol) *cilium {
	if p == correlator.TCP {
		return c.maps[ciliumNames[c.v6][1]]
	}
	return c.maps[ciliumNames[c.v6][2]]
}

func (c *ciliums) addr(host uint32, port uint16) correlator.Addr {
	ip := [16]byte{10: 0xff, 11: 0xff, 12: 10}
	if c.v6 {
		ip = [16]byte{0: 0xfd}
	}
	ip[13], ip[14], ip[15] = byte(host>>16), byte(host>>8), byte(host)
	return correlator.AddrOf(netip.AddrPortFrom(netip.AddrFrom16(ip), port))
}

// connection n: each its own source address.
func (c *ciliums) tuple(n uint32) correlator.Tuple {
	return correlator.Tuple{Src: c.addr(n, 40000), Dst: c.addr(0xfffffe, 443), Protocol: correlator.TCP}
}

// snat is the address of connection n after translation.
func (c *ciliums) snat(n uint32) correlator.Addr {
	return c.addr(0xf00000+n>>15, uint16(n&0x7fff)+1024)
}

func (c *cilium) putTo(value []byte, to correlator.Addr) []byte {
	n := 4
	if c.v6 {
		n = 16
	}
	copy(value[valueTo:], to.IP[16-n:])
	binary.BigEndian.PutUint16(value[valueTo+n:], to.Port)
	return value
}

func (c *cilium) put(tuple correlator.Tuple, d correlator.Dir, value []byte) error {
	return c.fd.Put(c.key(tuple, d), value)
}

// open makes the entries of connection n.
func (c *ciliums) open(n uint32, flags uint16, lifetime uint32) {
	c.t.Helper()
	c.openTuple(c.tuple(n), c.snat(n), flags, lifetime)
}

func (c *ciliums) openTuple(tuple correlator.Tuple, snat correlator.Addr, flags uint16, lifetime uint32) {
	c.t.Helper()
	nat, ct := c.nat(), c.ct(tuple.Protocol)
	reply := correlator.Tuple{Src: tuple.Dst, Dst: snat, Protocol: tuple.Protocol}
	err := errors.Join(
		ct.put(tuple, correlator.Out, ctValue(flags, lifetime)),
		nat.put(tuple, correlator.Out, nat.putTo(make([]byte, nat.fd.ValueSize()), snat)),
		nat.put(reply, correlator.In, nat.putTo(make([]byte, nat.fd.ValueSize()), tuple.Src)),
	)
	if err != nil {
		c.t.Fatal(err)
	}
}

// Flags of CT values.
const (
	rxClosing  = 1
	seenNonSYN = 16
)

func ctValue(flags uint16, lifetime uint32) []byte {
	value := make([]byte, valueCTSize)
	binary.NativeEndian.PutUint32(value[32:], lifetime)
	binary.NativeEndian.PutUint16(value[valueCTFlags:], flags)
	return value
}

// clocks are those that lifetimes are told by: seconds, and 256 ticks each.
func clocks(t *testing.T) (seconds, ticks uint32) {
	t.Helper()
	now := monotonicClock()
	length, err := tick()
	if err != nil {
		t.Fatal(err)
	}
	// The ticks began five minutes before 2^32 (kernel: INITIAL_JIFFIES).
	jiffies := uint64(1)<<32 - uint64(5*time.Minute/length) + uint64(time.Duration(now)/length)
	return uint32(now / int64(time.Second)), uint32(jiffies >> 8)
}

func alive(t *testing.T) uint32 {
	seconds, _ := clocks(t)
	return seconds + 8000
}

func (c *ciliums) touch(all []Touched) {
	c.t.Helper()
	if err := c.tracer.Touch(all, false); err != nil {
		c.t.Fatal(err)
	}
}
