// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/renat-project/renat/correlator"
)

// Condition is how the entries of a connection were found.
type Condition uint8

// The conditions; the numbers are enum guard_status's.
const (
	Unseen       Condition = iota // nobody looked: Cilium has no such map now
	Kept                          // alive, and its entries have been marked as used
	Opening                       // TCP: nothing but SYNs so far
	Closing                       // one side has closed it
	Expired                       // its lifetime is over
	Untracked                     // connection tracking does not know it
	OutGone                       // alive, but its packets have no translation
	InGone                        // alive, but its replies have no translation
	OthersReply                   // the entry for its replies is another connection's
	HostsOwn                      // the node's own connection, which was not asked for
	conditionMax = iota
)

var conditionNames = [conditionMax]string{
	"unseen", "kept", "opening", "closing", "expired", "untracked", "out gone", "in gone", "other's reply", "host's own",
}

// String returns the condition in words.
func (c Condition) String() string {
	if c < conditionMax {
		return conditionNames[c]
	}
	return "unknown"
}

// Touched is a connection by the tuple of its packets before translation, and
// how Touch found it.
type Touched struct {
	Tuple correlator.Tuple
	Condition
}

// ErrNoGuard says that this kernel has no programs that are run on demand.
var ErrNoGuard = errors.New("the guard needs Linux 5.14 or newer")

// guardWindow is GUARD_WINDOW of bpf/guard.h.
const guardWindow = 1024

// Touch has a BPF program look up the entries of connections that are alive, so
// that the kernel's LRU keeps them, and sets each one's Condition. That is all
// it does to Cilium's maps: no entry is written. The node's own connections,
// whose address stays as it is, only if host is set. The program is loaded when
// it is first needed, and anew when Cilium replaced a map. Calls wait for each
// other. Errors: ErrNoGuard, ErrPrivilege, or what else the kernel said.
func (t *Tracer) Touch(all []Touched, host bool) error {
	t.guardMu.Lock()
	defer t.guardMu.Unlock()
	for _, v6 := range []bool{false, true} {
		g, err := t.guardOf(v6)
		if err == nil && g != nil {
			err = g.touch(all, host)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// guardOf returns the guard of one IP version over the maps that are watched
// now; nil while there is no NAT map. t.guardMu is held.
func (t *Tracer) guardOf(v6 bool) (*guard, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := ciliumNames[v6]
	m := guardedMaps{v6: v6}
	for _, w := range t.watching {
		for i, name := range names {
			if w.Name == name {
				m.maps[i] = w
			}
		}
	}
	g := t.guards[v6]
	if g != nil && g.of == m {
		return g, nil
	}
	if g != nil {
		g.close()
		delete(t.guards, v6)
	}
	if m.maps[0] == nil {
		return nil, nil
	}
	g, err := newGuard(m)
	if err == nil {
		t.guards[v6] = g
	}
	return g, err
}

// guardedMaps are the maps that one IP version's program looks into: NAT, TCP's
// connection tracking, that of the other protocols. All but the first may be
// nil.
type guardedMaps struct {
	v6   bool
	maps [3]*cilium
}

// ciliumNames are those of guardedMaps, by whether they are IPv6's.
var ciliumNames = map[bool][3]string{
	false: {"cilium_snat_v4_external", "cilium_ct4_global", "cilium_ct_any4_global"},
	true:  {"cilium_snat_v6_external", "cilium_ct6_global", "cilium_ct_any6_global"},
}

// How the object calls these maps, and its programs.
var (
	objectNames = map[bool][3]string{
		false: {guardMapNat4, guardMapTcp4, guardMapAny4},
		true:  {guardMapNat6, guardMapTcp6, guardMapAny6},
	}
	programNames = map[bool]string{false: guardProgGuard4, true: guardProgGuard6}
)

// guard is the program of one IP version, loaded over Cilium's maps.
type guard struct {
	of         guardedMaps
	collection *ebpf.Collection
	program    *ebpf.Program
	memory     *ebpf.Memory                  // the window, as the program sees it
	records    [guardWindow]guardGuardRecord // on their way
	at         [guardWindow]int              // which connection each record is
}

func newGuard(m guardedMaps) (*guard, error) {
	if err := features.HaveProgramType(ebpf.Syscall); errors.Is(err, ebpf.ErrNotSupported) {
		return nil, fmt.Errorf("linux %s: %w", release(), ErrNoGuard)
	}
	spec, err := loadGuard()
	if err != nil {
		return nil, fmt.Errorf("reading the guard's programs: %w", err)
	}
	delete(spec.Programs, programNames[!m.v6])
	for _, name := range objectNames[!m.v6] {
		delete(spec.Maps, name)
	}
	replaced := map[string]*ebpf.Map{}
	for i, name := range objectNames[m.v6] {
		if c := m.maps[i]; c != nil {
			spec.Maps[name].MaxEntries, spec.Maps[name].Flags = c.fd.MaxEntries(), c.fd.Flags()
			replaced[name] = c.fd
		}
	}
	g := &guard{of: m}
	if g.collection, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replaced}); err != nil {
		return nil, fmt.Errorf("loading the guard's program on linux %s: %w", release(), explain(err))
	}
	g.program = g.collection.Programs[programNames[m.v6]]
	if g.memory, err = g.collection.Maps[guardMapWindow].Memory(); err != nil {
		g.close()
		return nil, fmt.Errorf("mapping the guard's window: %w", err)
	}
	return g, nil
}

func (g *guard) close() { g.collection.Close() }

// touch takes care of those of its IP version, a window at a time.
func (g *guard) touch(all []Touched, host bool) error {
	n := 0
	for i := range all {
		if all[i].Tuple.Src.AddrPort().Addr().Is6() != g.of.v6 {
			continue
		}
		g.records[n] = guardGuardRecord{}
		g.of.maps[0].putKey(g.records[n].Key[:], all[i].Tuple, correlator.Out)
		g.at[n] = i
		if n++; n == guardWindow {
			if err := g.run(n, all, host); err != nil {
				return err
			}
			n = 0
		}
	}
	return g.run(n, all, host)
}

// run has the program look at the first n records, and notes its answers.
func (g *guard) run(n int, all []Touched, host bool) error {
	if n == 0 {
		return nil
	}
	records := g.records[:n]
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&records[0])), n*int(unsafe.Sizeof(records[0])))
	if _, err := g.memory.WriteAt(raw, 0); err != nil {
		return fmt.Errorf("telling the guard what to look up: %w", err)
	}
	call := guardGuardRun{Records: uint32(n)}
	if host {
		call.Host = 1
	}
	if _, err := g.program.Run(&ebpf.RunOptions{Context: call}); err != nil {
		return fmt.Errorf("running the guard: %w", explain(err))
	}
	if _, err := g.memory.ReadAt(raw, 0); err != nil {
		return fmt.Errorf("reading what the guard found: %w", err)
	}
	for i, r := range records {
		all[g.at[i]].Condition = Condition(r.Status)
	}
	return nil
}
