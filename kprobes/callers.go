// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"time"

	"github.com/renat-project/renat/correlator"
)

// Programs come and go as the agent reloads them, and addresses are used again:
// what was read of the symbols holds for symbolsMaxAge. An unknown address has
// them read at once, but not more often than symbolsMinAge.
const (
	symbolsMaxAge = 30 * time.Second
	symbolsMinAge = time.Second
)

// callers names who called, by return address. It is Run's alone.
type callers struct {
	programs []program
	read     time.Time
	known    map[correlator.Caller]*correlator.Caller
	err      error // of the last reading
}

// of returns the caller of an event, nil if it cannot be known.
func (c *callers) of(e *watchEvent, now time.Time) *correlator.Caller {
	if e.Flags&uint8(watchEventFlagEVENT_SYSCALL) != 0 {
		return c.intern(correlator.Caller{Program: correlator.ProgramSyscall, Comm: cString(e.Comm[:])})
	}
	if e.Caller == 0 {
		return nil
	}
	if now.Sub(c.read) > symbolsMaxAge {
		c.refresh(now)
	}
	name := programAt(c.programs, e.Caller)
	if name == "" && now.Sub(c.read) > symbolsMinAge {
		c.refresh(now)
		name = programAt(c.programs, e.Caller)
	}
	if name == "" {
		return nil
	}
	return c.intern(correlator.Caller{Program: name})
}

func (c *callers) refresh(now time.Time) {
	c.read = now
	c.programs, c.err = readPrograms(kallsymsFile)
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
