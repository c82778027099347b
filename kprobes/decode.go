// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/renat-project/renat/correlator"
)

// eventABI is EVENT_ABI of bpf/event.h.
const eventABI = 4

const eventSize = int(unsafe.Sizeof(watchEvent{}))

var errUnknownMap = errors.New("an event of a map that is not watched")

// parse reads the ring buffer's bytes; both supported architectures are
// little endian, and so is what the programs write.
func parse(raw []byte, e *watchEvent) error {
	if len(raw) < eventSize {
		return fmt.Errorf("an event of %d bytes, want %d", len(raw), eventSize)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(e)), eventSize), raw)
	if e.Abi != eventABI {
		return fmt.Errorf("an event of version %d, want %d", e.Abi, eventABI)
	}
	return nil
}

// change converts an event of map m; offset is wall time minus ktime, tick how
// long one of the kernel's is. The caller is left to callers.
func change(e *watchEvent, m *cilium, offset int64, tick time.Duration) correlator.Event {
	tuple, dir := m.tuple(e.Key[:])
	ev := correlator.Event{
		Time:  int64(e.Ktime) + offset,
		Kind:  correlator.KindNAT,
		Tuple: tuple,
		NAT: correlator.NATChange{
			Op: correlator.Op(e.Op), Dir: dir,
			Errno:  int16(e.Error),
			Forced: e.Flags&uint8(watchEventFlagEVENT_FORCED) != 0,
			Flags:  e.UpdateFlags,
			CPU:    e.Cpu,
			KTime:  e.Ktime,
			Map:    m.Map,
		},
	}
	if e.Flags&uint8(watchEventFlagEVENT_VALUE) != 0 {
		ev.NAT.To = m.addr(e.To[:])
	}
	if e.Flags&uint8(watchEventFlagEVENT_ALIVE) != 0 {
		ev.NAT.Left = left(e, tick)
	}
	if e.Flags&uint8(watchEventFlagEVENT_AGED) != 0 {
		ev.NAT.Created = created(e, ev.Time, tick)
	}
	return ev
}

// ticksUnit is in how many ticks Cilium's datapath counts where it counts in
// ticks (BPF_MONO_SCALER).
const ticksUnit = 256

// created returns when a removed entry was made, in whole units of the clock
// that stamped it: up to a second early, with ticks up to a unit early or late.
func created(e *watchEvent, at int64, tick time.Duration) int64 {
	if e.Flags&uint8(watchEventFlagEVENT_TICKS) != 0 {
		return at - int64(e.Age)*ticksUnit*int64(tick)
	}
	return at - int64(e.Ktime%uint64(time.Second)) - int64(e.Age)*int64(time.Second)
}

// left returns how long a tracking entry had left when it was removed.
func left(e *watchEvent, tick time.Duration) time.Duration {
	if e.Flags&uint8(watchEventFlagEVENT_TICKS) != 0 {
		return time.Duration(e.Age) * ticksUnit * tick
	}
	return time.Duration(e.Age) * time.Second
}

// The parts of Cilium's keys (bpf/entry.h): two addresses, two ports,
// protocol, flags.
const (
	keyFlagIn   = 1
	key4Size    = 14
	key6Size    = 38
	value4Size  = 40
	value6Size  = 56
	valueCTSize = 56
	valueTo     = 32 // where a NAT value's address begins; the port follows
)

// tuple reads a key of the map, in packet-header order: NAT keys are so
// already, CT keys have their addresses exchanged.
func (c *cilium) tuple(key []byte) (correlator.Tuple, correlator.Dir) {
	n := 4
	if c.v6 {
		n = 16
	}
	var t correlator.Tuple
	t.Dst.IP, t.Src.IP = address(key[:n]), address(key[n:2*n])
	if c.CT {
		t.Dst.IP, t.Src.IP = t.Src.IP, t.Dst.IP
	}
	t.Dst.Port = binary.BigEndian.Uint16(key[2*n:])
	t.Src.Port = binary.BigEndian.Uint16(key[2*n+2:])
	t.Protocol = correlator.Protocol(key[2*n+4])
	return t, correlator.Dir(key[2*n+5] & keyFlagIn)
}

// key is tuple's inverse.
func (c *cilium) key(t correlator.Tuple, dir correlator.Dir) []byte {
	size := key4Size
	if c.v6 {
		size = key6Size
	}
	key := make([]byte, size)
	c.putKey(key, t, dir)
	return key
}

// putKey writes a key to where it has room.
func (c *cilium) putKey(key []byte, t correlator.Tuple, dir correlator.Dir) {
	n := 4
	if c.v6 {
		n = 16
	}
	dst, src := t.Dst.IP, t.Src.IP
	if c.CT {
		dst, src = src, dst
	}
	copy(key, dst[16-n:])
	copy(key[n:], src[16-n:])
	binary.BigEndian.PutUint16(key[2*n:], t.Dst.Port)
	binary.BigEndian.PutUint16(key[2*n+2:], t.Src.Port)
	key[2*n+4] = byte(t.Protocol)
	key[2*n+5] = byte(dir)
}

// addr reads an address and port as NAT values hold them.
func (c *cilium) addr(to []byte) correlator.Addr {
	n := 4
	if c.v6 {
		n = 16
	}
	return correlator.Addr{IP: address(to[:n]), Port: binary.BigEndian.Uint16(to[n:])}
}

// address converts 4 or 16 bytes to the 16-byte form.
func address(b []byte) (ip [16]byte) {
	if len(b) == 4 {
		ip[10], ip[11] = 0xff, 0xff
	}
	copy(ip[16-len(b):], b)
	return ip
}
