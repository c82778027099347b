// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// userHZ is the unit of times in /proc (Linux: USER_HZ).
const userHZ = 100

// usage is what a process has used, as of the last look at it.
type usage struct {
	mu   sync.Mutex
	cpu  time.Duration // of all its threads
	peak uint64        // of its resident memory, in bytes
}

// look reads it; that of a process which has ended stays.
func (u *usage) look(pid int) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name may have spaces
	fields := strings.Fields(after)
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return
	}
	user, _ := strconv.Atoi(fields[utime])
	system, _ := strconv.Atoi(fields[stime])
	var peak uint64
	if _, line, ok := strings.Cut(string(status), "VmHWM:"); ok {
		_, _ = fmt.Sscanf(line, "%d kB", &peak) // stays 0 of a process that ends
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cpu = time.Duration(user+system) * time.Second / userHZ
	u.peak = max(u.peak, peak<<10)
}

func (u *usage) get() (cpu time.Duration, peak uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cpu, u.peak
}
