// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"sync"
	"time"

	"github.com/prometheus/procfs"
)

// usage is what a process has used, as of the last look at it.
type usage struct {
	mu   sync.Mutex
	cpu  time.Duration // of all its threads
	peak uint64        // of its resident memory, in bytes
}

// look reads it; that of a process which has ended stays.
func (u *usage) look(pid int) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return
	}
	stat, err := p.Stat()
	if err != nil {
		return
	}
	status, err := p.NewStatus()
	if err != nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cpu = time.Duration(stat.CPUTime() * float64(time.Second))
	u.peak = max(u.peak, status.VmHWM)
}

func (u *usage) get() (cpu time.Duration, peak uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cpu, u.peak
}
