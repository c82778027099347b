// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// hook is a program and where it goes.
type hook struct {
	program string
	attach  func(*ebpf.Program) (link.Link, error)
}

func tracing(p *ebpf.Program) (link.Link, error) {
	return link.AttachTracing(link.TracingOptions{Program: p})
}

func kprobe(symbol string) func(*ebpf.Program) (link.Link, error) {
	return func(p *ebpf.Program) (link.Link, error) { return link.Kprobe(symbol, p, nil) }
}

func kretprobe(symbol string) func(*ebpf.Program) (link.Link, error) {
	return func(p *ebpf.Program) (link.Link, error) { return link.Kretprobe(symbol, p, nil) }
}

func tracepoint(name string) func(*ebpf.Program) (link.Link, error) {
	return func(p *ebpf.Program) (link.Link, error) { return link.Tracepoint("syscalls", name, p, nil) }
}

// takers are what a kernel may lack (lookup-and-delete of one element came with
// Linux 5.14), and then there is nothing to hook.
var takers = map[string]hook{
	"htab_lru_map_lookup_and_delete_elem":  {watchProgTakeExit, tracing},
	"htab_lru_map_lookup_and_delete_batch": {watchProgTakeBatchExit, tracing},
}

// instead are hooks for where the kernel lets nobody hook bpf_lru_push_free, by
// those that they stand in for.
var instead = map[string]hook{
	watchProgFreeEnter: {watchProgDeleteLook, tracing},
	watchProgFreeProbe: {watchProgDeleteLookProbe, kprobe("htab_lru_map_delete_elem")},
}

func fentryHooks(types *btf.Cache) []hook {
	hooks := []hook{
		{watchProgFreeEnter, tracing},
		{watchProgDeleteExit, tracing},
		{watchProgEvictExit, tracing},
		{watchProgUpdateExit, tracing},
		{watchProgNamedExit, tracing},
	}
	for function, h := range takers {
		if hasFunction(types, function) {
			hooks = append(hooks, h)
		}
	}
	return hooks
}

// kprobeHooks has the return probes first: the kernel runs the probe that was
// placed last first, and the entry probes must see the return address before
// the return probes replace it.
func kprobeHooks() []hook {
	return []hook{
		{watchProgDeleteReturn, kretprobe("htab_lru_map_delete_elem")},
		{watchProgEvictReturn, kretprobe("htab_lru_map_delete_node")},
		{watchProgUpdateReturn, kretprobe("htab_lru_map_update_elem")},
		{watchProgFreeProbe, kprobe("bpf_lru_push_free")},
		{watchProgBpfExit, tracepoint("sys_exit_bpf")},
		{watchProgBpfEnter, tracepoint("sys_enter_bpf")},
		{watchProgDeleteEnter, kprobe("htab_lru_map_delete_elem")},
		{watchProgEvictEnter, kprobe("htab_lru_map_delete_node")},
		{watchProgUpdateEnter, kprobe("htab_lru_map_update_elem")},
		{watchProgNamedReturn, kretprobe("bpf_ksym_add")},
	}
}

// kernelSide is what is loaded into the kernel. The collection and the links
// are kept, not only what is used of them: what Go collects, it detaches.
type kernelSide struct {
	backend    Backend
	why        string // the backend
	collection *ebpf.Collection
	places     *places
	filter     *filter
	links      []link.Link
	ahead      ahead
	tracePorts uint32 // where these variables lie in their map
	traceMarks uint32
}

// load checks the kernel, loads the programs and attaches them.
func load(c Config, addresses kernelAddresses) (*kernelSide, error) {
	if err := checkRealtime(realtimeFile, release()); err != nil {
		return nil, err
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("lifting the limit of locked memory: %w", explain(err))
	}
	types := btf.NewCache() // reading them costs more than all else here
	if err := checkKernel(types); err != nil {
		return nil, err
	}
	if err := features.HaveMapType(ebpf.RingBuf); err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil, fmt.Errorf("linux %s has no BPF ring buffer: %w", release(), ErrTooOld)
		}
		return nil, fmt.Errorf("asking for the BPF ring buffer: %w", explain(err))
	}
	if c.Backend == Kprobe {
		return loadHooks(c, addresses, types, Kprobe, "as configured")
	}
	k, err := loadHooks(c, addresses, types, Fentry, "the kernel supports it")
	if err == nil || c.Backend == Fentry || !errors.Is(err, ebpf.ErrNotSupported) {
		return k, err
	}
	return loadHooks(c, addresses, types, Kprobe, "no fentry here: "+err.Error())
}

// loadHooks loads only the programs of the backend's hooks and attaches them
// all, or none.
func loadHooks(c Config, a kernelAddresses, types *btf.Cache, b Backend, why string) (*kernelSide, error) {
	hooks := kprobeHooks()
	if b == Fentry {
		hooks = fentryHooks(types)
	}
	spec, err := loadWatch()
	if err != nil {
		return nil, fmt.Errorf("reading the programs: %w", err)
	}
	for name := range spec.Programs {
		if !slices.ContainsFunc(hooks, func(h hook) bool { return h.program == name || instead[h.program].program == name }) {
			delete(spec.Programs, name)
		}
	}
	lines := uint32(c.FilterBytes / cellLine)
	spec.Maps[watchMapFilter].MaxEntries = lines
	spec.Maps[watchMapFilter].Flags |= unix.BPF_F_MMAPABLE
	spec.Maps[watchMapEvents].MaxEntries = uint32(c.RingBytes)
	tick, err := tick()
	if err != nil {
		return nil, err
	}
	shift, units := filterUnits(c.filterWindow, tick)
	constants := map[string]any{
		watchVarSendEverything: c.Everything, watchVarFilterMask: lines - 1, watchVarFilterScale: filterScale(shift), watchVarFilterGlanceScale: filterScale(shift), watchVarFilterWindow: units,
		watchVarTraceable: c.Traces, watchVarTextStart: a.textStart, watchVarTextEnd: a.textEnd,
		watchVarUpdateHelperStart: a.updateHelper.start, watchVarUpdateHelperEnd: a.updateHelper.end,
		watchVarDeleteHelperStart: a.removeHelper.start, watchVarDeleteHelperEnd: a.removeHelper.end,
		watchVarUpdateAddress: a.update, watchVarDeleteAddress: a.remove,
	}
	for name, value := range constants {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
	}
	k := &kernelSide{
		backend: b, why: why,
		tracePorts: spec.Variables[watchVarTracePorts].Offset, traceMarks: spec.Variables[watchVarTraceMarks].Offset,
	}
	if k.collection, err = newCollection(spec, types); err != nil {
		return nil, fmt.Errorf("loading the %s programs on linux %s: %w", b, release(), explain(err))
	}
	if k.places, err = newPlaces(k.collection.Maps[watchMapWatching], k.collection.Maps[mapPlaces]); err != nil {
		k.collection.Close()
		return nil, err
	}
	if k.filter, err = newFilter(k.collection.Maps[watchMapFilter], shift, tick); err != nil {
		err = errors.Join(err, k.places.close())
		k.collection.Close()
		return nil, err
	}
	for _, h := range hooks {
		l, err := h.attach(k.collection.Programs[h.program])
		if other, ok := instead[h.program]; ok && untraceable(err) {
			k.ahead = k.collection.Maps
			h = other
			l, err = h.attach(k.collection.Programs[h.program])
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("attaching %s on linux %s: %w", h.program, release(), explain(err, neededFor(b)...)), k.close())
		}
		k.links = append(k.links, l)
	}
	return k, nil
}

// newCollection loads the programs: with loads from the kernel's memory where it
// has them and its verifier takes them, else with copies.
func newCollection(spec *ebpf.CollectionSpec, types *btf.Cache) (*ebpf.Collection, error) {
	options := ebpf.CollectionOptions{Cache: types}
	if hasFunction(types, "bpf_rdonly_cast") {
		loads := spec.Copy()
		if err := loads.Variables[watchVarCanLoad].Set(true); err != nil {
			return nil, err
		}
		c, err := ebpf.NewCollectionWithOptions(loads, options)
		var refused *ebpf.VerifierError
		if !errors.As(err, &refused) {
			return c, err
		}
	}
	for _, p := range spec.Programs {
		dropKernelCalls(p.Instructions)
	}
	return ebpf.NewCollectionWithOptions(spec, options)
}

// dropKernelCalls takes out the calls of the kernel's own functions: of
// bpf_rdonly_cast, which is called only where can_load says that it is there.
// Looking for it in all the kernel's modules would take more rights.
func dropKernelCalls(p asm.Instructions) {
	for i := range p {
		if p[i].IsKfuncCall() {
			p[i] = asm.Mov.Imm(asm.R0, 0).WithSymbol(p[i].Symbol()).WithSource(p[i].Source())
		}
	}
}

// untraceable reports whether a function was refused that the kernel has: fentry
// finds no place for its call there (EBUSY on amd64), kprobes do not find it.
// Linux 7.3 is built so that little can be hooked in the LRU's own file.
func untraceable(err error) bool {
	return errors.Is(err, unix.EBUSY) || errors.Is(err, os.ErrNotExist) || errors.Is(err, ebpf.ErrNotSupported)
}

// close detaches in reverse order and frees everything.
func (k *kernelSide) close() error {
	var errs []error
	for _, l := range slices.Backward(k.links) {
		errs = append(errs, l.Close())
	}
	errs = append(errs, k.places.close(), k.filter.close())
	k.collection.Close()
	return errors.Join(errs...)
}
