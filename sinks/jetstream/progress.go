// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Spans are a set of sequences: first and last of each span, in order.
type Spans [][2]uint64

// Len is how many sequences there are.
func (s Spans) Len() (n uint64) {
	for _, span := range s {
		n += span[1] - span[0] + 1
	}
	return n
}

// find returns the index of the first span that ends at seq or later, and
// whether seq is in it.
func (s Spans) find(seq uint64) (int, bool) {
	n, _ := slices.BinarySearchFunc(s, seq, func(span [2]uint64, seq uint64) int {
		if span[1] < seq {
			return -1
		}
		return 1
	})
	return n, n < len(s) && s[n][0] <= seq
}

// Has reports whether seq is in the set.
func (s Spans) Has(seq uint64) bool {
	_, ok := s.find(seq)
	return ok
}

// add adds what lies after all that is in the set; from > to: nothing.
func (s *Spans) add(from, to uint64) {
	switch {
	case from > to:
	case len(*s) > 0 && (*s)[len(*s)-1][1]+1 == from:
		(*s)[len(*s)-1][1] = to
	default:
		*s = append(*s, [2]uint64{from, to})
	}
}

// insert adds a sequence.
func (s *Spans) insert(seq uint64) {
	n, ok := s.find(seq)
	if ok {
		return
	}
	after := n < len(*s) && (*s)[n][0] == seq+1
	switch before := n > 0 && (*s)[n-1][1]+1 == seq; {
	case before && after:
		(*s)[n-1][1] = (*s)[n][1]
		*s = slices.Delete(*s, n, n+1)
	case before:
		(*s)[n-1][1] = seq
	case after:
		(*s)[n][0] = seq
	default:
		*s = slices.Insert(*s, n, [2]uint64{seq, seq})
	}
}

// remove removes a sequence, if it is there.
func (s *Spans) remove(seq uint64) {
	n, ok := s.find(seq)
	if !ok {
		return
	}
	switch span := &(*s)[n]; {
	case span[0] == span[1]:
		*s = slices.Delete(*s, n, n+1)
	case seq == span[0]:
		span[0]++
	case seq == span[1]:
		span[1]--
	default:
		last := span[1]
		span[1] = seq - 1
		*s = slices.Insert(*s, n+1, [2]uint64{seq + 1, last})
	}
}

// before returns what of the set is lower than seq.
func (s Spans) before(seq uint64) (low Spans) {
	for _, span := range s {
		if span[0] >= seq {
			break
		}
		low = append(low, [2]uint64{span[0], min(span[1], seq-1)})
	}
	return low
}

// Progress is how far the readers of a consumer got. Stored before each
// acknowledgement, it tells the next reader what it never gets: the server
// forgets what was sent to a reader that was killed, once the stream drops it.
type Progress struct {
	// Stream is when the stream was made.
	Stream time.Time `json:"stream"`
	// Through is the highest sequence that was sent to a reader, and Open are
	// those up to it that were not acknowledged.
	Through uint64 `json:"through"`
	Open    Spans  `json:"open"`
}

// next is the first sequence that was not acknowledged.
func (p *Progress) next() uint64 {
	if len(p.Open) > 0 {
		return p.Open[0][0]
	}
	return p.Through + 1
}

// acknowledged reports whether a sequence was.
func (p *Progress) acknowledged(seq uint64) bool { return seq <= p.Through && !p.Open.Has(seq) }

// maxSpans of a Progress are some 20 KiB.
const maxSpans = 1000

// Shorten makes it a quarter as long, at least. It takes for not acknowledged
// then what lies between the latest that were not: the stream drops the oldest
// first. false: it is short already.
func (p *Progress) Shorten() bool {
	if len(p.Open) < 2 {
		return false
	}
	p.shorten(max(len(p.Open)/4, 1))
	return true
}

func (p *Progress) shorten(to int) {
	if len(p.Open) > to {
		p.Open[to-1][1] = p.Open[len(p.Open)-1][1]
		p.Open = p.Open[:to]
	}
}

// reading is the Progress of a reader, as it goes on. It is safe for concurrent
// use.
type reading struct {
	mu sync.Mutex
	Progress
	// missing are those of Open that have not come to this reader.
	missing Spans
}

// resume begins where an earlier reader got to.
func (r *reading) resume(p Progress) {
	r.Progress = p
	r.missing = slices.Clone(p.Open)
}

// sent notes that the server sent everything up to a sequence, to whomever.
func (r *reading) sent(through uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skip(through)
}

func (r *reading) skip(through uint64) {
	r.Open.add(r.Through+1, through)
	r.missing.add(r.Through+1, through)
	r.Through = max(r.Through, through)
}

// came notes a message, and reports whether some between it and those before it
// did not come, which is to be seen only where the stream has nothing else.
func (r *reading) came(seq uint64, alone bool) (gap bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if gap = alone && seq > r.Through+1; gap {
		r.skip(seq - 1)
	}
	r.missing.remove(seq)
	r.Open.insert(seq)
	r.Through = max(r.Through, seq)
	return gap
}

// misses reports whether something up to a sequence has not come.
func (r *reading) misses(through uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.missing) > 0 && r.missing[0][0] <= through
}

// lost returns what never comes, as the stream begins with a later sequence.
// At the end of a claim nothing else is missing: the rest was acknowledged, by
// a reader that was believed dead.
func (r *reading) lost(first uint64, claimed bool) Spans {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := r.missing.before(first)
	done := gone
	if claimed {
		done = r.missing
	}
	for _, span := range slices.Clone(done) {
		r.Open = r.Open.without(span)
		r.missing = r.missing.without(span)
	}
	return gone
}

// without returns the set without a span of it.
func (s Spans) without(span [2]uint64) (rest Spans) {
	for _, have := range s {
		if have[1] < span[0] || have[0] > span[1] {
			rest = append(rest, have)
			continue
		}
		if have[0] < span[0] {
			rest = append(rest, [2]uint64{have[0], span[0] - 1})
		}
		if have[1] > span[1] {
			rest = append(rest, [2]uint64{span[1] + 1, have[1]})
		}
	}
	return rest
}

// settle notes acknowledgements and returns how far the reader is with them.
func (r *reading) settle(acks []string) Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range acks {
		r.Open.remove(sequenceOf(a))
	}
	p := r.Progress
	p.Open = slices.Clone(p.Open)
	p.shorten(maxSpans)
	return p
}

// sequenceOf is that of the message that an acknowledgement is for, 0 for none:
// $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>..., or with
// <domain>.<account> before the stream.
func sequenceOf(ack string) uint64 {
	tokens, at := strings.Split(ack, "."), 5
	if len(tokens) > 9 {
		at = 7
	}
	if len(tokens) <= at {
		return 0
	}
	seq, _ := strconv.ParseUint(tokens[at], 10, 64) // 0 then
	return seq
}
