// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"sync"
	"time"

	"github.com/cilium/cilium/api/v1/flow"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/kprobes"
)

// failure is how the datapath broke a connection.
type failure struct {
	kind          incident.Kind
	cause         incident.Cause
	before, after netip.AddrPort // after: not of an orphaned reply
	at            uint64         // ktime
	mapped        uint64         // when the OUT entry was made that the connection had before
	// reset is when the Observer got the RST's flow; zero: there was none.
	reset time.Time
	// silent says that no RST may reach the pod.
	silent bool
}

// witness derives from the datapath's reports how connections broke. It knows
// neither the maps nor Hubble: a port that changes under an open connection is
// a renat, an address that changes egress_changed, an RST of the node's own
// stack from a connection's SNAT port an orphaned reply, a reply that policy drops
// tracking_lost.
type witness struct {
	account *account

	mu        sync.Mutex     // guards what follows
	deleted   map[key]uint64 // when user space deleted the OUT entry last
	untracked map[key]uint64 // the same of the tracking entry
	replaced  uint64         // when the NAT map was

	// Those of the goroutine that calls saw.
	stories map[key]*story
	bySNAT  map[key]*story // by SNAT address and server
}

// story is the life of a connection, up to its first failure.
type story struct {
	key
	at      netip.AddrPort // the server knows it by; invalid: not mapped yet
	outAt   uint64         // when the OUT entry was inserted last
	staleAt uint64         // when the datapath removed it last
	newAt   uint64         // when the tracking entry was inserted last
	open    bool           // its server has answered
	closed  bool
	failure *failure // the first
}

func newWitness(a *account) *witness {
	return &witness{account: a, deleted: map[key]uint64{}, untracked: map[key]uint64{}, stories: map[key]*story{}, bySNAT: map[key]*story{}}
}

// deletes runs del, which deletes an entry of a connection if it exists, and notes
// when in one of its maps. What comes of it is not judged before it is known whether
// it did.
func (w *witness) deletes(at map[key]uint64, k key, del func(pod, server netip.AddrPort) (existed bool, err error)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, _ := kprobes.Now()
	existed, err := del(k.client, k.server)
	if existed {
		at[k] = now
	}
	return err
}

// replaces runs do, which has the NAT map made anew.
func (w *witness) replaces(do func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replaced, _ = kprobes.Now()
	return do()
}

// saw takes the next report; fed is when the Observer got its flow.
func (w *witness) saw(r *datapath.Report, fed time.Time) {
	flags := correlator.TCPFlags(r.Flags)
	switch {
	case r.What == datapath.Mapped:
		w.mapped(w.story(key{r.Src, r.Dst}), r)
	case r.What == datapath.Stale:
		w.story(key{r.Src, r.Dst}).staleAt = r.KTime
	case r.What == datapath.Restored:
		w.story(key{r.Src, r.Dst}).outAt = r.KTime
	case r.Point == dropped && flow.DropReason(r.Reason) == flow.DropReason_NO_MAPPING_FOR_NAT_MASQUERADE:
		w.account.refused(key{r.Src, r.Dst}, fed)
	case r.Point == dropped && flow.DropReason(r.Reason) == flow.DropReason_POLICY_DENIED:
		s := w.story(key{r.Dst, r.Src})
		w.broke(s, r, failure{kind: incident.TrackingLost, cause: w.untrackedBy(s, r.KTime), before: s.at})
	case r.Point == uint8(correlator.ToNetwork) && flags&correlator.RST != 0 && w.orphan(r) != nil:
		s := w.orphan(r)
		w.broke(s, r, failure{kind: incident.OrphanedReply, cause: w.orphanedBy(s), before: r.Src, reset: fed})
		w.reset(s, fed)
	case r.Point == uint8(correlator.ToStack), r.Point == uint8(correlator.ToNetwork):
		s := w.story(key{r.Src, r.Dst})
		if flags&(correlator.SYN|correlator.ACK) == correlator.SYN && (s.closed || !s.at.IsValid()) {
			w.begin(s)
		}
		if r.Reason == uint8(correlator.ReasonNew) {
			s.newAt = r.KTime
		}
		s.closed = s.closed || flags&(correlator.FIN|correlator.RST) != 0
		if r.Point == uint8(correlator.ToNetwork) && flags&(correlator.SYN|correlator.ACK) == correlator.ACK {
			s.open = true // the node's stack got an answer, which is not reported
		}
	case r.Point == uint8(correlator.ToEndpoint):
		s := w.story(key{r.Dst, r.Src})
		if flags&correlator.RST != 0 {
			w.reset(s, fed)
			s.closed = true
		} else {
			s.open = true
		}
	}
}

// orphan returns the pod's connection whose reply the node resets.
func (w *witness) orphan(r *datapath.Report) *story {
	if s := w.bySNAT[key{r.Src, r.Dst}]; s != nil && s.client != r.Src {
		return s
	}
	return nil
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
	delete(w.bySNAT, key{s.at, s.server})
	*s = story{key: s.key}
}

// mapped takes a new OUT entry.
func (w *witness) mapped(s *story, r *datapath.Report) {
	switch {
	case !s.open:
		delete(w.bySNAT, key{s.at, s.server})
		s.at = r.To
		w.bySNAT[key{s.at, s.server}] = s
	case s.at.Addr() != r.To.Addr():
		w.broke(s, r, failure{kind: incident.EgressChanged, cause: w.cause(s, r.KTime), before: s.at, after: r.To})
	case s.at != r.To:
		w.broke(s, r, failure{kind: incident.Renat, cause: w.cause(s, r.KTime), before: s.at, after: r.To})
	}
	s.outAt = r.KTime
}

// cause tells who removed the OUT entry that was missing at a time: nobody but
// the laboratory, the datapath and the LRU removes any.
func (w *witness) cause(s *story, at uint64) incident.Cause {
	if s.staleAt > s.outAt {
		return incident.DatapathDelete
	}
	if w.replacedSince(s.outAt) {
		return incident.MapReplaced
	}
	return w.removedBy(w.deleted, s.key, s.outAt, at)
}

// orphanedBy does of the IN entry, which is as old or newer, and which nobody deletes.
func (w *witness) orphanedBy(s *story) incident.Cause {
	if w.replacedSince(s.outAt) {
		return incident.MapReplaced
	}
	return incident.LRUEviction
}

func (w *witness) replacedSince(at uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replaced > at
}

// untrackedBy does of the tracking entry.
func (w *witness) untrackedBy(s *story, at uint64) incident.Cause {
	return w.removedBy(w.untracked, s.key, s.newAt, at)
}

// removedBy tells who removed an entry that was inserted and is gone at a time.
func (w *witness) removedBy(deleted map[key]uint64, k key, inserted, gone uint64) incident.Cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := deleted[k]; d > inserted && d < gone {
		return incident.UserspaceDelete
	}
	return incident.LRUEviction
}

// broke takes a failure. What gets lost before the server's answer has come is sent again.
func (w *witness) broke(s *story, r *datapath.Report, f failure) {
	if !s.open || s.closed || s.failure != nil {
		return
	}
	f.at, f.mapped, f.silent = r.KTime, s.outAt, s.server.Port() == portFiltered
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
