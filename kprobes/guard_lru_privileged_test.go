// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/sizing"
)

// churn inserts what nobody needs.
type churn struct {
	*ciliums
	cpus      int
	pops      map[*cilium][]int // since the last touch, by CPU
	guarded   []Touched
	isGuarded bool
}

// ownThread has the test keep its thread, on the first CPU for now, until
// the test ends.
func ownThread(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.SchedSetaffinity(0, &before) // as it was
		runtime.UnlockOSThread()
	})
	onCPU(t, 0)
}

// onCPU moves the thread.
func onCPU(t testing.TB, cpu int) {
	t.Helper()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
}

// block is how many connections are made with one command for each map.
const block = 8

// insert makes the entries of a block of connections on a CPU, and guards when
// it is due.
func (c *churn) insert(first uint32) {
	c.t.Helper()
	cpu := int(first/block) % c.cpus
	onCPU(c.t, cpu)
	nat, ct := c.nat(), c.ct(correlator.TCP)
	var natKeys, ctKeys [][key4Size]byte
	var natValues [][value4Size]byte
	var ctValues [][valueCTSize]byte
	for n := first; n < first+block; n++ {
		tuple, snat := c.tuple(n), c.snat(n)
		reply := correlator.Tuple{Src: tuple.Dst, Dst: snat, Protocol: tuple.Protocol}
		var out, in [value4Size]byte
		nat.putTo(out[:], snat)
		nat.putTo(in[:], tuple.Src)
		natKeys = append(natKeys, [key4Size]byte(nat.key(tuple, correlator.Out)), [key4Size]byte(nat.key(reply, correlator.In)))
		natValues = append(natValues, out, in)
		ctKeys = append(ctKeys, [key4Size]byte(ct.key(tuple, correlator.Out)))
		ctValues = append(ctValues, [valueCTSize]byte(ctValue(seenNonSYN, 1<<31)))
	}
	_, natErr := nat.fd.BatchUpdate(natKeys, natValues, nil)
	_, ctErr := ct.fd.BatchUpdate(ctKeys, ctValues, nil)
	if err := errors.Join(natErr, ctErr); err != nil {
		c.t.Fatal(err)
	}
	c.popped(nat, cpu, 2*block)
	c.popped(ct, cpu, block)
}

func (c *churn) popped(m *cilium, cpu, n int) {
	possible, err := ebpf.PossibleCPU()
	if err != nil {
		c.t.Fatal(err)
	}
	if c.pops[m] == nil {
		c.pops[m] = make([]int, c.cpus)
	}
	if !m.Distributed {
		cpu = 0
	}
	c.pops[m][cpu] += n
	if c.pops[m][cpu] < sizing.TouchEvery(int(m.MaxEntries), possible, m.Distributed) || !c.isGuarded {
		return
	}
	clear(c.pops)
	c.touch(c.guarded)
}

// lasting returns how many of the guarded have all their entries.
func (c *churn) lasting() (n int) {
	for _, one := range c.guarded {
		reply := correlator.Tuple{Src: one.Tuple.Dst, Dst: c.snatOf(one.Tuple), Protocol: correlator.TCP}
		if c.has(c.nat(), one.Tuple, correlator.Out) && c.has(c.nat(), reply, correlator.In) && c.has(c.ct(correlator.TCP), one.Tuple, correlator.Out) {
			n++
		}
	}
	return n
}

func (c *ciliums) snatOf(tuple correlator.Tuple) correlator.Addr {
	ip := tuple.Src.IP
	return c.snat(uint32(ip[13])<<16 | uint32(ip[14])<<8 | uint32(ip[15]))
}

func (c *ciliums) has(m *cilium, tuple correlator.Tuple, d correlator.Dir) bool {
	c.t.Helper()
	value, err := m.fd.LookupBytes(m.key(tuple, d))
	if err != nil {
		c.t.Fatal(err)
	}
	return value != nil
}

// TestPrivilegedGuardKeeps inserts 20 times the map and wants all guarded
// entries, a quarter of the usable ones, to be there: none without the guard.
func TestPrivilegedGuardKeeps(t *testing.T) {
	possible, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range []uint32{0, unix.BPF_F_NO_COMMON_LRU} {
		for _, cpus := range []int{1, 2} {
			for _, entries := range []uint32{512, 4096} {
				for _, guarded := range []bool{true, false} {
					name := fmt.Sprintf("flags %d, %d CPUs, %d entries, guarded %t", flags, cpus, entries, guarded)
					t.Run(name, func(t *testing.T) {
						ownThread(t)
						c := &churn{ciliums: newCiliums(t, false, entries, flags), cpus: min(cpus, possible), pops: map[*cilium][]int{}, isGuarded: guarded}
						if guarded && c.noGuard() {
							return
						}
						usable := sizing.Usable(int(entries), possible, flags != 0)
						if flags != 0 {
							usable = usable / possible * c.cpus // what CPUs that insert nothing have is not used
						}
						keep(t, c, usable/8, 10*entries)
					})
				}
			}
		}
	}
}

// keep opens n connections that live among ones that do not, and goes on with
// these.
func keep(t *testing.T, c *churn, n int, others uint32) {
	for first := uint32(0); first < others; first += block {
		c.insert(first)
		for i := first; i < first+block && len(c.guarded) < n; i += 2 {
			c.guarded = append(c.guarded, Touched{Tuple: c.tuple(i)})
		}
	}
	want := n
	if !c.isGuarded {
		want = 0
	}
	if lasting := c.lasting(); lasting != want {
		t.Errorf("%d of %d connections last, want %d", lasting, n, want)
	}
}

// TestGuardLetsGo wants the entries of closed and of expired
// connections to be evicted although they are on the guard's list, within half
// as many inserts again as the map has entries, while others are in use; and a new
// connection on the same port to be kept.
func TestGuardLetsGo(t *testing.T) {
	const entries = 4096
	c := &churn{ciliums: newCiliums(t, false, entries, 0), cpus: 1, pops: map[*cilium][]int{}, isGuarded: true}
	if c.noGuard() {
		return
	}
	ownThread(t)
	seconds, _ := clocks(t)
	for n := range uint32(3) {
		c.open(n, seenNonSYN, 1<<31)
		c.guarded = append(c.guarded, Touched{Tuple: c.tuple(n)})
	}
	next := uint32(block)
	used := make([]Touched, block)
	churn := func(inserts int) {
		for range inserts / block / 2 { // two NAT entries each
			c.insert(next)
			for i := range used {
				used[i].Tuple = c.tuple(next + uint32(i))
			}
			c.touch(used) // as the datapath does, with their second packets
			next += block
		}
	}
	churn(3 * entries)
	c.touch(c.guarded)
	if lasting := c.lasting(); lasting != 3 {
		t.Fatalf("%d of 3 connections last", lasting)
	}
	ct := c.ct(correlator.TCP)
	err := errors.Join(ct.put(c.guarded[0].Tuple, correlator.Out, ctValue(seenNonSYN|rxClosing, 1<<31)),
		ct.put(c.guarded[1].Tuple, correlator.Out, ctValue(seenNonSYN, seconds-1)))
	if err != nil {
		t.Fatal(err)
	}
	churn(entries * 3 / 2)
	for i, want := range []bool{false, false, true} {
		if has := c.has(c.nat(), c.guarded[i].Tuple, correlator.Out); has != want {
			t.Errorf("connection %d has its entry: %t", i, has)
		}
	}
	c.open(0, seenNonSYN, 1<<31)
	churn(3 * entries)
	if lasting := c.lasting(); lasting != 2 {
		t.Errorf("%d connections last, want the one that never ended and the one that was opened again", lasting)
	}
}
