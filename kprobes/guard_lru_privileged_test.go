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

// kernelTakes is how many entries a CPU takes from the LRU at a time.
const kernelTakes = 128

// block is how many connections are made with one command for each map.
const block = 8

// turn is how many are made on a CPU before it is the next one's turn: in an
// emulated machine moving to it takes longer than making a block of them.
const turn = kernelTakes / 2 // two NAT entries each

// insert makes the entries of a block of connections on the CPU whose turn it is,
// and guards when it is due.
func (c *churn) insert(first uint32) {
	c.t.Helper()
	cpu := int(first/turn) % c.cpus
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

// use makes a block of connections whose second packets the datapath looks up,
// and returns how many had lost an entry by then.
func (c *churn) use(first uint32) (lost int) {
	c.insert(first)
	var second [block]Touched
	for i := range second {
		second[i].Tuple = c.tuple(first + uint32(i))
	}
	c.touch(second[:])
	for _, one := range second {
		if one.Condition != Kept {
			lost++
		}
	}
	return lost
}

// collect deletes the entries of connections, as Cilium's collector does with
// those that have ended.
func (c *churn) collect(first, end uint32, living map[uint32]bool) {
	nat, ct := c.nat(), c.ct(correlator.TCP)
	for n := first; n < end; n++ {
		if tuple := c.tuple(n); !living[n] {
			reply := correlator.Tuple{Src: tuple.Dst, Dst: c.snat(n), Protocol: tuple.Protocol}
			_, _, _ = nat.fd.Delete(nat.key(tuple, correlator.Out)), nat.fd.Delete(nat.key(reply, correlator.In)), ct.fd.Delete(ct.key(tuple, correlator.Out)) // maybe evicted
		}
	}
}

// TestGuardAndNew opens connections in a full map, all of which are used, while
// others live, a quarter of it. The kernel then runs out of entries that are not
// in use, and takes those that were just made, until Cilium's collector has freed
// some: whether those that live are guarded, or talk.
func TestGuardAndNew(t *testing.T) {
	const entries, rounds = 4096, 10
	possible, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	lost := map[string]int{}
	for _, name := range []string{"guarded", "talking", "guarded, collected", "none"} {
		t.Run(name, func(t *testing.T) {
			ownThread(t)
			c := &churn{ciliums: newCiliums(t, false, entries, 0), cpus: 1, pops: map[*cilium][]int{}}
			if c.noGuard() {
				return
			}
			c.isGuarded = name != "talking"
			next, collected, living := uint32(0), uint32(0), map[uint32]bool{}
			use := func() int {
				defer func() { next += block }()
				if !c.isGuarded {
					c.touch(c.guarded)
				}
				return c.use(next)
			}
			for len(c.guarded) < sizing.Usable(entries, possible, false)/8 && name != "none" {
				use()
				living[next-1], c.guarded = true, append(c.guarded, Touched{Tuple: c.tuple(next - 1)})
			}
			for round := range rounds + 1 {
				for end := next + entries/2; next < end; {
					if n := use(); round > 0 { // the collector has been there by then
						lost[name] += n
					}
				}
				if name == "guarded, collected" {
					c.collect(collected, next-block, living)
					collected = next - block
				}
			}
			t.Logf("%d of %d new connections lost an entry before their second packet", lost[name], rounds*entries/2)
			if n := c.lasting(); n != len(living) {
				t.Errorf("%d of %d last", n, len(living))
			}
		})
	}
	if lost["none"] > 0 || lost["guarded, collected"] > 0 || lost["guarded"] > lost["talking"]*11/10 {
		t.Errorf("lost %v: want no more while guarded than while as many talk, and none while entries are collected", lost)
	}
}

// TestGuardLetsGo wants the entries of closed and of expired connections to be
// evicted although they are on the guard's list, as soon as those of a connection
// that was never on it and was last used at the same time, and within the bound of
// docs/guard.md, while others are in use; and a new connection on the same port to
// be kept.
func TestGuardLetsGo(t *testing.T) {
	const entries = 4096
	c := &churn{ciliums: newCiliums(t, false, entries, 0), cpus: 1, pops: map[*cilium][]int{}, isGuarded: true}
	if c.noGuard() {
		return
	}
	ownThread(t)
	seconds, _ := clocks(t)
	for n := range uint32(4) {
		c.open(n, seenNonSYN, 1<<31)
		c.guarded = append(c.guarded, Touched{Tuple: c.tuple(n)})
	}
	next := uint32(block)
	churn := func(inserts int) {
		for range inserts / block / 2 { // two NAT entries each
			c.use(next)
			next += block
		}
	}
	churn(3 * entries)
	c.touch(c.guarded)
	if lasting := c.lasting(); lasting != 4 {
		t.Fatalf("%d of 4 connections last", lasting)
	}
	ct := c.ct(correlator.TCP)
	err := errors.Join(ct.put(c.guarded[0].Tuple, correlator.Out, ctValue(seenNonSYN|rxClosing, 1<<31)),
		ct.put(c.guarded[1].Tuple, correlator.Out, ctValue(seenNonSYN, seconds-1)))
	if err != nil {
		t.Fatal(err)
	}
	never := c.guarded[3].Tuple
	c.guarded = c.guarded[:3]
	possible, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	usable := sizing.Usable(entries, possible, false)
	passed := 0
	for ; passed <= usable*3/2+kernelTakes && c.has(c.nat(), never, correlator.Out); passed += 2 * block {
		churn(2 * block)
	}
	for i, want := range []bool{false, false, true} {
		if has := c.has(c.nat(), c.guarded[i].Tuple, correlator.Out); has != want {
			t.Errorf("connection %d has its entry: %t, after %d inserts", i, has, passed)
		}
	}
	t.Logf("gone after %d inserts, of which %d fill the map", passed, usable)
	c.open(0, seenNonSYN, 1<<31)
	churn(3 * entries)
	if lasting := c.lasting(); lasting != 2 {
		t.Errorf("%d connections last, want the one that never ended and the one that was opened again", lasting)
	}
}
