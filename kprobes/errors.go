// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Why New cannot watch on this machine; for errors.Is.
var (
	ErrPrivilege = errors.New("not allowed to load and attach BPF programs")
	ErrNoBTF     = errors.New("this kernel carries no type information (/sys/kernel/btf/vmlinux): use one built with CONFIG_DEBUG_INFO_BTF, as all current distributions' are")
	ErrLockdown  = errors.New("kernel lockdown in confidentiality mode forbids BPF programs to read kernel memory: boot with lockdown=integrity or without it")
	ErrRealtime  = errors.New("on this real-time kernel evictions cannot be watched safely: renat needs Linux 6.12 or newer with PREEMPT_RT, or a kernel without it")
	ErrTooOld    = errors.New("this kernel is too old: renat needs Linux 5.10 or newer")
)

// LayoutError says that a structure is not laid out as renat knows it. The
// kernel's or Cilium's version is unknown to renat: update renat.
type LayoutError struct {
	What string // the function or map
	Has  string
	Want string
}

func (e *LayoutError) Error() string {
	return fmt.Sprintf("%s has %s, renat knows it with %s: update renat, or report this version", e.What, e.Has, e.Want)
}

const lockdownFile = "/sys/kernel/security/lockdown"

// explain finds the reason behind a failed load or attach; also are capabilities
// that what failed needs beside those of all. A kernel that is locked down does
// not refuse permission but pretends not to know the helpers that read its memory
// (EINVAL).
func explain(err error, also ...capability) error {
	if mode, readErr := os.ReadFile(lockdownFile); readErr == nil && strings.Contains(string(mode), "[confidentiality]") {
		return fmt.Errorf("%w (%w)", ErrLockdown, err)
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: %s (%w)", ErrPrivilege, privilegeAdvice(os.Geteuid() == 0, lacking(append(neededHere(), also...))), err)
	}
	return err
}

// neededCapabilities are what docs/agent.md asks for.
const neededCapabilities = "the capabilities BPF and PERFMON (on Linux before 5.11 SYS_RESOURCE, too; for kprobes on Debian's kernels SYS_ADMIN)"

// privilegeAdvice says what a process without the rights can do. Root of a
// container lacks what the container was not given, and some machines refuse
// BPF to everybody.
func privilegeAdvice(root bool, missing []string) string {
	lacks := strings.Join(missing, " and ")
	switch {
	case root && lacks != "":
		return "this process lacks " + lacks + " although it is root's: give it, or its container, " + neededCapabilities
	case root:
		return "this process is root's and has BPF and PERFMON, so something else refuses: AppArmor, SELinux or seccomp"
	case lacks != "":
		return "this process lacks " + lacks + ": run as root, or give the process " + neededCapabilities
	}
	return "run as root, or give the process " + neededCapabilities
}

// capability is one of capabilities(7).
type capability struct {
	number int
	name   string
}

var (
	capBPF      = capability{unix.CAP_BPF, "BPF"}
	capPerfmon  = capability{unix.CAP_PERFMON, "PERFMON"}
	capResource = capability{unix.CAP_SYS_RESOURCE, "SYS_RESOURCE"}
	capAdmin    = capability{unix.CAP_SYS_ADMIN, "SYS_ADMIN"}
)

// neededHere are the capabilities that loading needs on this kernel. Before Linux
// 5.11 maps and programs count as locked memory, whose limit must be lifted, if it
// is not already.
func neededHere() []capability {
	needed := []capability{capBPF, capPerfmon}
	var limit unix.Rlimit
	major, minor, ok := version(release())
	if ok && (major < 5 || major == 5 && minor < 11) && unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Max != unix.RLIM_INFINITY {
		needed = append(needed, capResource)
	}
	return needed
}

// perfFile says from 3 on that perf_event_open(2), by which kprobes are placed,
// is for SYS_ADMIN alone; Debian's kernels begin with 3, the kernel's own sources
// know no more than 2.
const perfFile = "/proc/sys/kernel/perf_event_paranoid"

// neededFor are what attaching the backend's programs needs beside that.
func neededFor(b Backend) []capability {
	text, err := os.ReadFile(perfFile)
	if level, atoiErr := strconv.Atoi(strings.TrimSpace(string(text))); b == Kprobe && err == nil && atoiErr == nil && level > 2 {
		return []capability{capAdmin}
	}
	return nil
}

// lacking names those that this thread does not have, nor SYS_ADMIN, which stands
// for BPF and PERFMON.
func lacking(needed []capability) (names []string) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if unix.Capget(&header, &sets[0]) != nil {
		return nil
	}
	has := func(c capability) bool { return sets[c.number/32].Effective&(1<<(c.number%32)) != 0 }
	for _, c := range needed {
		if !has(c) && (c == capResource || !has(capAdmin)) {
			names = append(names, c.name)
		}
	}
	return names
}

// arguments are how many arguments each hooked function takes: unchanged since
// Linux 4.19, and since 5.8 where bpf_ksym_add came.
var arguments = map[string]int{
	"htab_lru_map_update_elem": 4,
	"htab_lru_map_delete_elem": 2,
	"htab_lru_map_delete_node": 2,
	"bpf_lru_push_free":        2,
	"bpf_ksym_add":             1,
}

// checkKernel compares what the programs rely on with the kernel's types.
// Moved fields are no difference: they are relocated when loading.
func checkKernel(types *btf.Cache) error {
	kernel, err := types.Kernel()
	switch {
	case errors.Is(err, os.ErrPermission):
		return explain(err)
	case errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w (%w)", ErrNoBTF, err)
	case err != nil:
		return fmt.Errorf("reading the kernel's types: %w", err)
	}
	for name, want := range arguments {
		var fn *btf.Func
		if err := kernel.TypeByName(name, &fn); err != nil {
			continue // arm64's 5.10 describes no functions; attaching tells whether it is there
		}
		if proto, ok := fn.Type.(*btf.FuncProto); !ok || len(proto.Params) != want {
			return &LayoutError{What: "the kernel's " + name, Has: fmt.Sprint(fn.Type), Want: fmt.Sprintf("%d arguments", want)}
		}
	}
	return nil
}

// hasFunction reports whether the kernel's types name a function.
func hasFunction(types *btf.Cache, name string) bool {
	kernel, err := types.Kernel()
	var fn *btf.Func
	return err == nil && kernel.TypeByName(name, &fn) == nil
}

// release returns uname -r.
func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "(unknown release)"
	}
	return unix.ByteSliceToString(u.Release[:])
}
