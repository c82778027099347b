// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"time"

	"github.com/renat-project/renat/correlator"
)

// programsAge is how often the programs are listed while some come and go and
// all callers have names.
const programsAge = time.Second

// callers names who called, by return address. It is Run's alone.
//
// Addresses are used again as the agent reloads programs, so the kernel side
// counts the programs that got a name: once that moved, they are listed
// again, at the latest for the next address without a name, and for those at
// most once a second.
type callers struct {
	list     func() ([]program, error)
	named    func() (uint64, error) // the kernel side's count
	programs []program
	at       uint64 // count when they were listed
	read     time.Time
	vain     time.Time // when they were listed for an address without a name
	known    map[correlator.Caller]*correlator.Caller
	err      error // of the last listing
}

// of returns the caller of an event, nil if it cannot be known.
func (c *callers) of(e *watchEvent) *correlator.Caller {
	if e.Flags&uint8(watchEventFlagEVENT_SYSCALL) != 0 {
		return c.intern(correlator.Caller{Program: correlator.ProgramSyscall, Comm: cString(e.Comm[:])})
	}
	if e.Caller == 0 {
		return nil
	}
	name := programAt(c.programs, e.Caller)
	if name == "" && time.Since(c.vain) > programsAge || time.Since(c.read) > programsAge {
		read := c.refresh()
		name = programAt(c.programs, e.Caller)
		if read && name == "" {
			c.vain = c.read
		}
	}
	if name == "" {
		return nil
	}
	return c.intern(correlator.Caller{Program: name})
}

// refresh lists the programs if some were named since, and tells whether it did.
func (c *callers) refresh() bool {
	var count uint64
	if count, c.err = c.named(); c.err != nil || (count == c.at && !c.read.IsZero()) {
		return false
	}
	c.read, c.at = time.Now(), count
	c.programs, c.err = c.list()
	return true
}

// intern returns one pointer for equal callers.
func (c *callers) intern(caller correlator.Caller) *correlator.Caller {
	if p := c.known[caller]; p != nil {
		return p
	}
	if c.known == nil {
		c.known = map[correlator.Caller]*correlator.Caller{}
	}
	c.known[caller] = &caller
	return &caller
}

// cString cuts at the first zero byte.
func cString(b []byte) string {
	for i, v := range b {
		if v == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
