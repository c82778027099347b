// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// realtimeFile says 1 on kernels built with PREEMPT_RT.
const realtimeFile = "/sys/kernel/realtime"

// checkRealtime refuses PREEMPT_RT before Linux 6.12: the programs at the LRU's
// evictions run under a raw spinlock, and reserve room in the ring buffer, whose
// own lock was one that sleeps there until "bpf: Use raw_spinlock_t in ringbuf".
func checkRealtime(file, release string) error {
	if b, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(b)) != "1" {
		return nil // kernels without PREEMPT_RT have no such file
	}
	if major, minor, ok := version(release); ok && (major > 6 || major == 6 && minor >= 12) {
		return nil
	}
	return fmt.Errorf("%w: linux %s has PREEMPT_RT", ErrRealtime, release)
}

// version returns the first two numbers of a release.
func version(release string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(release, ".")
	second, _, _ := strings.Cut(rest, ".")
	second, _, _ = strings.Cut(second, "-")
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(second)
	return major, minor, err == nil
}
