// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"errors"
	"sync"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
)

// errSealed says that Feed came after Seal.
var errSealed = errors.New("feeding a sealed Observer: nothing may follow the end")

// entry is one event in the ring: a flow, a loss, or the end that Seal writes.
type entry struct {
	time time.Time
	flow *flow.Flow
	lost *flow.LostEvent
}

// ring holds the latest events. Positions count events from 0; two of them,
// -1 and -2, lie before the beginning, where the real ring wraps around.
type ring struct {
	slots int64 // capacity and the one that is being written

	mu      sync.Mutex // guards what follows
	entries []entry    // position p is at p modulo slots
	write   int64      // the next position to be written
	flows   uint64     // flows written
	sealed  bool
	readers map[*reader]struct{}
	changed chan struct{} // closed when an event is written and someone waits
}

func newRing(capacity int) *ring {
	return &ring{slots: int64(capacity) + 1, readers: map[*reader]struct{}{}}
}

// wait returns a channel that is closed at the next change. r.mu is held.
func (r *ring) wait() <-chan struct{} {
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// put writes an event.
func (r *ring) put(e entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed {
		return errSealed
	}
	r.append(e)
	return nil
}

// seal writes the end, which makes the newest event readable.
func (r *ring) seal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sealed {
		r.append(entry{})
		r.sealed = true
	}
}

// append needs r.mu.
func (r *ring) append(e entry) {
	if r.write < r.slots {
		r.entries = append(r.entries, e)
	} else {
		r.entries[r.write%r.slots] = e
	}
	if e.flow != nil {
		r.flows++
	}
	r.write++
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// oldest returns the first position that still can be read. r.mu is held.
func (r *ring) oldest() int64 { return max(0, r.write-r.slots) }

// len returns how many events the server says it holds. r.mu is held.
func (r *ring) len() int64 { return min(r.write, r.slots-1) }

// behind returns how many readable events the slowest reader has not read.
func (r *ring) behind() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var most int64
	for rd := range r.readers {
		most = max(most, r.write-1-max(rd.pos, r.oldest()))
	}
	return most
}

// reading returns how many readers there are.
func (r *ring) reading() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.readers)
}

// reader reads a ring from a position on.
type reader struct {
	ring *ring
	pos  int64
}

func (rd *reader) close() {
	rd.ring.mu.Lock()
	defer rd.ring.mu.Unlock()
	delete(rd.ring.readers, rd)
}

// read copies readable events to out and returns their number. lost is how
// many events were overwritten before them. Where there is nothing to read it
// returns a channel to wait on.
func (rd *reader) read(out []entry) (n int, lost int64, wait <-chan struct{}) {
	r := rd.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if rd.pos < 0 {
		// The slot that the position wraps around to must have been written.
		if r.write <= r.slots+rd.pos {
			return 0, 0, r.wait()
		}
		rd.pos++
		return 0, 1, nil
	}
	if oldest := r.oldest(); rd.pos < oldest {
		lost, rd.pos = oldest-rd.pos, oldest
		return 0, lost, nil
	}
	for ; n < len(out) && rd.pos < r.write-1; n++ {
		out[n] = r.entries[rd.pos%r.slots]
		rd.pos++
	}
	if n == 0 {
		return 0, 0, r.wait()
	}
	return n, 0, nil
}

// span says which part of the ring a request wants.
type span struct {
	first, follow bool
	number        uint64
	since         time.Time // zero: not given
}

// open returns a reader that stands where the real server's does.
func (r *ring) open(s span, match func(entry) bool) *reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	rd := &reader{ring: r}
	r.readers[rd] = struct{}{}
	switch {
	case s.first && s.since.IsZero():
		rd.pos = r.oldest()
	case s.follow && s.number == 0 && s.since.IsZero():
		rd.pos = r.write - 2
	default:
		rd.pos = r.rewind(s, match)
	}
	return rd
}

// rewind goes back from the newest readable event. It ends one position too
// early when it comes to the end of a full ring, as the real one does, so that
// the reader begins with a lost event. r.mu is held.
func (r *ring) rewind(s span, match func(entry) bool) int64 {
	pos, oldest, count := r.write-2, r.oldest(), uint64(0)
	for range r.len() {
		if pos < oldest {
			return pos + 1
		}
		e := r.entries[pos%r.slots]
		if e.flow != nil && match(e) {
			count++
			if !s.since.IsZero() && e.time.Before(s.since) {
				return pos + 1
			}
			if s.since.IsZero() && count == s.number {
				return pos
			}
		}
		pos--
	}
	return pos
}
