// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

// TestPrivilegedGuardConditions has every condition found, by both clocks.
func TestPrivilegedGuardConditions(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("IPv6 %t", v6), func(t *testing.T) {
			if c := newCiliums(t, v6, 1024, 0); !c.noGuard() {
				findConditions(t, c)
			}
		})
	}
}

func findConditions(t *testing.T, c *ciliums) {
	seconds, ticks := clocks(t)
	nat := c.nat()
	remove := func(tuple correlator.Tuple, d correlator.Dir) {
		if err := nat.fd.Delete(nat.key(tuple, d)); err != nil {
			t.Fatal(err)
		}
	}
	reply := func(n uint32) correlator.Tuple {
		return correlator.Tuple{Src: c.tuple(n).Dst, Dst: c.snat(n), Protocol: correlator.TCP}
	}
	var all []Touched
	var want []Condition
	add := func(tuple correlator.Tuple, is Condition) {
		all, want = append(all, Touched{Tuple: tuple}), append(want, is)
	}
	for n, is := range map[uint32]struct {
		flags    uint16
		lifetime uint32
		Condition
	}{
		1: {seenNonSYN, seconds + 8000, Kept}, 2: {seenNonSYN, ticks + 8000, Kept},
		3: {seenNonSYN, seconds - 10, Expired}, 4: {seenNonSYN, ticks - 10, Expired},
		5: {seenNonSYN | rxClosing, seconds + 10, Closing}, 6: {seenNonSYN | rxClosing<<1, seconds + 10, Closing},
		7: {0, seconds + 60, Opening},
	} {
		c.open(n, is.flags, is.lifetime)
		add(c.tuple(n), is.Condition)
	}
	add(c.tuple(100), Untracked)
	for n := uint32(10); n < 14; n++ {
		c.open(n, seenNonSYN, seconds+8000)
	}
	remove(c.tuple(10), correlator.Out)
	add(c.tuple(10), OutGone)
	remove(reply(11), correlator.In)
	add(c.tuple(11), InGone)
	if err := nat.put(reply(12), correlator.In, nat.putTo(make([]byte, nat.fd.ValueSize()), c.tuple(13).Src)); err != nil {
		t.Fatal(err)
	}
	add(c.tuple(12), OthersReply)
	add(c.tuple(13), Kept)
	host := c.tuple(14)
	c.openTuple(host, correlator.Addr{IP: host.Src.IP, Port: 50000}, seenNonSYN, seconds+8000)
	add(host, HostsOwn)
	udp := c.tuple(15)
	udp.Protocol = correlator.UDP // no SYN to be seen
	c.openTuple(udp, c.snat(15), 0, seconds+60)
	add(udp, Kept)
	other := &ciliums{v6: !c.v6}
	add(other.tuple(1), Unseen) // there is no such map
	c.touch(all)
	for i, one := range all {
		if one.Condition != want[i] {
			t.Errorf("%s: %s, want %s", one.Tuple, one.Condition, want[i])
		}
	}
	own := []Touched{{Tuple: host}, {Tuple: c.tuple(1)}}
	if err := c.tracer.Touch(own, true); err != nil || own[0].Condition != Kept || own[1].Condition != Kept {
		t.Errorf("asked for the node's own, too: %s, and a pod's %s: %v", own[0].Condition, own[1].Condition, err)
	}
}

// TestPrivilegedTracked has the tracking maps tell the connections that the guard
// would find alive, and no others.
func TestPrivilegedTracked(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		c := newCiliums(t, v6, 1024, 0)
		seconds, ticks := clocks(t)
		c.open(1, seenNonSYN, seconds+8000)
		c.open(2, seenNonSYN, ticks+8000)
		c.open(3, seenNonSYN, seconds-10)
		c.open(4, seenNonSYN|rxClosing, seconds+10)
		c.open(5, seenNonSYN|rxClosing<<1, seconds+10)
		c.open(6, 0, seconds+60)
		udp := c.tuple(7)
		udp.Protocol = correlator.UDP
		c.openTuple(udp, c.snat(7), 0, seconds+60)
		if err := c.ct(correlator.TCP).put(c.tuple(8), correlator.In, ctValue(seenNonSYN, seconds+8000)); err != nil {
			t.Fatal(err) // that of one which came to a pod
		}
		got := map[correlator.Tuple]bool{}
		for _, p := range []correlator.Protocol{correlator.TCP, correlator.UDP} {
			if err := c.tracer.Tracked(t.Context(), c.ct(p).ID, func(tuple correlator.Tuple) { got[tuple] = true }); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 3 || !got[c.tuple(1)] || !got[c.tuple(2)] || !got[udp] {
			t.Errorf("IPv6 %t: %v", v6, got)
		}
		if err := c.tracer.Tracked(t.Context(), c.nat().ID, func(tuple correlator.Tuple) { t.Errorf("the NAT map tracks %s", tuple) }); err != nil {
			t.Fatal(err)
		}
	}
}

// dump returns all entries of all maps.
func (c *ciliums) dump() map[string][]byte {
	c.t.Helper()
	all := map[string][]byte{}
	for name, m := range c.maps {
		var key, value []byte
		for entries := m.fd.Iterate(); entries.Next(&key, &value); {
			all[name+string(key)] = bytes.Clone(value)
		}
	}
	return all
}

// TestGuardChangesNothing wants every byte of every entry to be as it
// was after 100,000 runs over connections in all conditions.
func TestGuardChangesNothing(t *testing.T) {
	c := newCiliums(t, false, 1024, 0)
	if c.noGuard() {
		return
	}
	findConditions(t, c)
	var all []Touched
	for n := range uint32(20) {
		all = append(all, Touched{Tuple: c.tuple(n)})
	}
	before := c.dump()
	for range 100_000 {
		c.touch(all)
	}
	if after := c.dump(); len(before) < 30 || !maps.EqualFunc(before, after, bytes.Equal) {
		t.Errorf("%d entries before, %d after, or other ones", len(before), len(after))
	}
}

// TestPrivilegedGuardCannotWrite has the kernel's verifier prove that the
// programs write to none of Cilium's maps: it refuses who may write to a map
// that programs must not write.
func TestPrivilegedGuardCannotWrite(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		c := newCiliums(t, v6, 1024, unix.BPF_F_RDONLY_PROG)
		if c.noGuard() {
			continue
		}
		c.touch([]Touched{{Tuple: c.tuple(1)}})
		if len(c.tracer.guards) != 1 {
			t.Error("no program was loaded")
		}
	}
}

// TestGuardAmidChange changes and replaces the maps while the guard
// runs: it never fails, and what has closed is never called alive.
func TestGuardAmidChange(t *testing.T) {
	c := newCiliums(t, false, 512, 0)
	if c.noGuard() {
		return
	}
	lifetime := alive(t)
	var all []Touched
	for n := range uint32(400) {
		all = append(all, Touched{Tuple: c.tuple(n)})
	}
	stop := make(chan struct{})
	var changing sync.WaitGroup
	for seed := range uint64(2) {
		changing.Go(func() {
			random := rand.New(rand.NewPCG(1, seed))
			for step := 0; ; step++ {
				select {
				case <-stop:
					return
				default:
				}
				n := random.Uint32N(400)
				c.tracer.mu.Lock() // the maps stay while one is changed
				nat, ct := c.nat(), c.ct(correlator.TCP)
				flags := uint16(seenNonSYN)
				if n%2 == 1 {
					flags |= rxClosing
				}
				switch {
				case step%1000 == 999 && seed == 0:
					c.tracer.mu.Unlock()
					c.add(ciliumNames[false][step/1000%3], 512)
					continue
				case random.IntN(3) == 0:
					_, _ = nat.fd.Delete(nat.key(c.tuple(n), correlator.Out)), ct.fd.Delete(ct.key(c.tuple(n), correlator.Out)) // maybe not there
				default:
					c.open(n, flags, lifetime)
				}
				c.tracer.mu.Unlock()
			}
		})
	}
	kept := 0
	for round := 0; round < 1000 || kept == 0; round++ { // none is there until the first was made
		if err := c.tracer.Touch(all, false); err != nil {
			t.Error(err)
			break
		}
		for n, one := range all {
			switch {
			case one.Condition == Kept && n%2 == 1:
				t.Fatalf("%s has closed and was kept", one.Tuple)
			case one.Condition == Kept:
				kept++
			}
		}
	}
	close(stop)
	changing.Wait()
}

// TestPrivilegedGuardNeedsBPF loads and runs with the capability BPF alone, on
// kernels before 6.12 with PERFMON, too.
func TestPrivilegedGuardNeedsBPF(t *testing.T) {
	c := newCiliums(t, false, 512, 0)
	if c.noGuard() {
		return
	}
	c.open(1, seenNonSYN, alive(t))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all, only [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		t.Fatal(err)
	}
	only = all
	for i := range only {
		only[i].Effective = 0
	}
	try := func() error {
		if err := unix.Capset(&header, &only[0]); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Capset(&header, &all[0]) }() // they are still permitted
		one := []Touched{{Tuple: c.tuple(1)}}
		err := c.tracer.Touch(one, false)
		if err == nil && one[0].Condition != Kept {
			t.Errorf("it is %s", one[0].Condition)
		}
		return err
	}
	if err := try(); !errors.Is(err, ErrPrivilege) {
		t.Errorf("without any: %v, want ErrPrivilege", err)
	}
	only[unix.CAP_BPF/32].Effective = 1 << (unix.CAP_BPF % 32)
	if older(t, 6, 12) {
		only[unix.CAP_PERFMON/32].Effective |= 1 << (unix.CAP_PERFMON % 32)
	}
	if err := try(); err != nil {
		t.Errorf("with what it needs: %v", err)
	}
}

// TestGuardEndsWithProcess kills a process that guards, and wants its program to
// be gone from the kernel.
func TestGuardEndsWithProcess(t *testing.T) {
	c := newCiliums(t, false, 512, 0)
	if c.noGuard() {
		return
	}
	if os.Getenv(toBeKilled) != "" {
		c.touch([]Touched{{Tuple: c.tuple(1)}})
		info, err := c.tracer.guards[false].program.Info()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := info.ID()
		fmt.Printf("program %d\n", id)
		select {} // the signal ends it
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGuardEndsWithProcess$")
	child.Env = append(os.Environ(), toBeKilled+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var id ebpf.ProgramID
	if _, err := fmt.Fscanf(out, "program %d\n", &id); err != nil {
		t.Fatalf("the process did not guard: %v", err)
	}
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		t.Fatalf("program %d is not there while the process lives: %v", id, err)
	}
	program.Close()
	_ = child.Process.Kill()
	_ = child.Wait()                      // it was killed
	for !errors.Is(err, os.ErrNotExist) { // the kernel frees it a little later
		time.Sleep(10 * time.Millisecond)
		if program, err = ebpf.NewProgramFromID(id); err == nil {
			program.Close()
		}
	}
}

// toBeKilled is set in the environment of the process that is killed.
const toBeKilled = "RENAT_TEST_TO_BE_KILLED"
