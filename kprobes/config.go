// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"fmt"
	"os"
	"time"
)

// Backend is how the programs are hooked into the kernel.
type Backend string

// The backends.
const (
	Auto   Backend = "auto"   // fentry, or kprobe where the kernel has none
	Fentry Backend = "fentry" // trampolines: sees everything; of Debian's kernels all on amd64, on arm64 6.12
	// Kprobe is the fallback. It does not see inserts made through bpf(2), nor
	// the evictions they cause; nor the values of entries deleted that way.
	Kprobe Backend = "kprobe"
)

// Config is what New needs; its zero value is right for a node.
type Config struct {
	Backend Backend // Auto if empty
	// Everything has every operation sent, failed deletes and the CT maps'
	// removals included: for recordings. It costs more on busy nodes.
	Everything bool
	// Traces allows Trace. On older kernels the programs take longer to load then.
	Traces bool
	// RingBytes is the size of the ring buffer, a power of two and at least a
	// page; 4 MiB if 0, which holds 35,000 events.
	RingBytes int
	// FilterBytes is the size of the filter that decides which inserts are
	// sent, a power of two and at least 64; 16 MiB if 0.
	FilterBytes int
	// BPFFS is where Cilium pins its maps; /sys/fs/bpf if empty.
	BPFFS string

	// filterWindow is FilterWindow if 0: the least, until followTimeouts knows.
	filterWindow time.Duration
}

// FilterWindow is how long a removal is remembered at least, so that later inserts
// of the same connection are sent. It is longer than Cilium by default keeps an idle
// established TCP connection (8000 s, bpf-ct-timeout-regular-tcp), hence longer
// than any connection can sleep and still be translated. Where entries are kept for
// longer, so are removals (Tracer.Remembers).
const FilterWindow = timeoutDefault + timeoutMargin

const timeoutDefault = 8000 * time.Second

// cellLine is the size of the filter's elements (bpf/filter.h).
const cellLine = 64

// withDefaults fills in and checks.
func (c Config) withDefaults() (Config, error) {
	if c.Backend == "" {
		c.Backend = Auto
	}
	if c.RingBytes == 0 {
		c.RingBytes = 4 << 20
	}
	if c.FilterBytes == 0 {
		c.FilterBytes = 16 << 20
	}
	if c.BPFFS == "" {
		c.BPFFS = "/sys/fs/bpf"
	}
	if c.filterWindow == 0 {
		c.filterWindow = FilterWindow
	}
	switch {
	case c.Backend != Auto && c.Backend != Fentry && c.Backend != Kprobe:
		return c, fmt.Errorf("backend %q is none of auto, fentry, kprobe", c.Backend)
	case c.RingBytes < os.Getpagesize() || c.RingBytes&(c.RingBytes-1) != 0:
		return c, fmt.Errorf("a ring buffer of %d bytes is no power of two, or smaller than a page", c.RingBytes)
	case c.FilterBytes < cellLine || c.FilterBytes&(c.FilterBytes-1) != 0:
		return c, fmt.Errorf("a filter of %d bytes is no power of two, or smaller than %d", c.FilterBytes, cellLine)
	}
	return c, nil
}
