// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// failure is how the datapath broke a connection.
type failure struct {
	kind          incident.Kind
	cause         incident.Cause
	before, after netip.AddrPort // after: of renat only
	at            uint64         // ktime
	mapped        uint64         // when the OUT entry was made that the connection had before
	// reset is when the Observer got the RST's flow; zero: there was none.
	reset time.Time
}

// witness derives from the datapath's reports how connections broke. It knows
// neither the maps nor Hubble: a port that changes under an open connection is
// a renat, an RST of the node's own stack from a connection's SNAT port an
// orphaned reply.
type witness struct {
	account *account
	snat    netip.Addr

	mu      sync.Mutex     // guards deleted
	deleted map[key]uint64 // when user space deleted the OUT entry last

	// Those of the goroutine that calls saw.
	stories map[key]*story
	bySNAT  map[key]*story // by SNAT address and server
}

// story is the life of a connection, up to its first failure.
type story struct {
	key
	port    uint16 // the server knows it by; 0: not mapped yet
	outAt   uint64 // when the OUT entry was inserted last
	closed  bool
	failure *failure // the first
}

func newWitness(a *account, snat netip.Addr) *witness {
	return &witness{account: a, snat: snat, deleted: map[key]uint64{}, stories: map[key]*story{}, bySNAT: map[key]*story{}}
}

// deleteOut runs del, which deletes a connection's OUT entry if it exists. What
// comes of it is not judged before it is known whether it did.
func (w *witness) deleteOut(k key, del func() (existed bool, err error)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, err := ktime()
	if err != nil {
		return err
	}
	existed, err := del()
	if existed {
		w.deleted[k] = at
	}
	return err
}

// ktime returns the kernel's monotonic clock, in nanoseconds.
func ktime() (uint64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, fmt.Errorf("reading the monotonic clock: %w", err)
	}
	return uint64(t.Nano()), nil
}

// saw takes the next report; fed is when the Observer got its flow.
func (w *witness) saw(r *datapath.Report, fed time.Time) {
	flags := correlator.TCPFlags(r.Flags)
	switch {
	case r.What == datapath.Mapped:
		w.mapped(w.story(key{r.Src, r.Dst}), r)
	case r.What == datapath.Restored:
		w.story(key{r.Src, r.Dst}).outAt = r.KTime
	case r.Point == uint8(correlator.ToStack):
		s := w.story(key{r.Src, r.Dst})
		if flags&(correlator.SYN|correlator.ACK) == correlator.SYN && (s.closed || s.port == 0) {
			w.begin(s)
		}
		s.closed = s.closed || flags&(correlator.FIN|correlator.RST) != 0
	case r.Point == uint8(correlator.ToEndpoint):
		s := w.story(key{r.Dst, r.Src})
		if flags&correlator.RST != 0 {
			w.reset(s, fed)
			s.closed = true
		}
	case r.Point == uint8(correlator.ToNetwork) && flags&correlator.RST != 0:
		if s := w.bySNAT[key{r.Src, r.Dst}]; s != nil {
			w.broke(s, r, failure{kind: incident.OrphanedReply, cause: incident.LRUEviction, before: r.Src, reset: fed})
			w.reset(s, fed)
		}
	}
}

func (w *witness) story(k key) *story {
	s := w.stories[k]
	if s == nil {
		s = &story{key: k}
		w.stories[k] = s
	}
	return s
}

// begin makes a story that of a new connection with the same addresses.
func (w *witness) begin(s *story) {
	delete(w.bySNAT, key{w.at(s.port), s.server})
	*s = story{key: s.key}
}

func (w *witness) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(w.snat, port) }

// mapped takes a new OUT entry.
func (w *witness) mapped(s *story, r *datapath.Report) {
	if s.port == 0 {
		s.port = r.Port
		w.bySNAT[key{w.at(s.port), s.server}] = s
	} else if s.port != r.Port {
		w.broke(s, r, failure{kind: incident.Renat, cause: w.cause(s, r.KTime), before: w.at(s.port), after: w.at(r.Port)})
	}
	s.outAt = r.KTime
}

// cause tells who removed the OUT entry that was missing at a time: nobody but
// the laboratory and the LRU removes any.
func (w *witness) cause(s *story, at uint64) incident.Cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.deleted[s.key]; d > s.outAt && d < at {
		return incident.UserspaceDelete
	}
	return incident.LRUEviction
}

func (w *witness) broke(s *story, r *datapath.Report, f failure) {
	if s.closed || s.failure != nil {
		return
	}
	f.at, f.mapped = r.KTime, s.outAt
	s.failure = &f
	w.account.failed(s.key, f)
}

// reset notes the first RST that belongs to a failure.
func (w *witness) reset(s *story, at time.Time) {
	if s.failure == nil || !s.failure.reset.IsZero() {
		return
	}
	s.failure.reset = at
	w.account.wasReset(s.key, at)
}
