// SPDX-License-Identifier: Apache-2.0

package correlator

// chunkSize is how many connections are allocated at once.
const chunkSize = 1 << 12

// table holds the connections, at most max of them. When it is full, one goes
// that was not heard of since the hand passed it last: a clock, because to keep
// a list by use would cost two cache misses an event.
type table struct {
	chunks  []*[chunkSize]conn // conn number r is chunks[r/chunkSize][r%chunkSize]
	live    ref                // numbers 1 to live are in use
	max     ref
	hand    ref
	byTuple index // by the pre-NAT tuple
	byReply index // by the IN entry's key: server to SNAT address
	warmed  int64 // keeps the compiler from dropping warm's reads
}

func newTable(limit int) *table {
	t := &table{max: ref(limit), chunks: []*[chunkSize]conn{new([chunkSize]conn)}}
	t.byTuple = newIndex(limit, func(r ref) Tuple { return t.at(r).tuple })
	t.byReply = newIndex(limit, func(r ref) Tuple { return t.at(r).replyKey() })
	return t
}

func (t *table) at(r ref) *conn { return &t.chunks[r/chunkSize][r%chunkSize] }

// warm reads what the lookups of these events will read, so that the processor
// waits for many cache misses at once instead of for each in its turn.
func (t *table) warm(events []Event) {
	var refs [64]ref
	var sum int64
	for len(events) > 0 {
		n := min(len(events), len(refs))
		for i := range events[:n] {
			refs[i] = t.byTuple.places[t.byTuple.home(events[i].podTuple())]
		}
		for _, r := range refs[:n] {
			c := t.at(r)
			sum += int64(c.tuple.Src.IP[0]) + int64(c.suspect) + c.lastServer
		}
		events = events[n:]
	}
	t.warmed += sum
}

// lookup returns the connection with this pre-NAT tuple, or 0.
func (t *table) lookup(tuple *Tuple) ref {
	r, _ := t.byTuple.find(tuple)
	return r
}

// lookupReply returns the connection whose IN entry has, or last had, this key, or 0.
func (t *table) lookupReply(key *Tuple) ref {
	r, _ := t.byReply.find(key)
	return r
}

// add makes a connection that is not in the table. forget is called with the
// one that has to go, if any.
func (t *table) add(tuple *Tuple, forget func(ref)) ref {
	var r ref
	if t.live < t.max {
		t.live++
		r = t.live
		if int(r/chunkSize) == len(t.chunks) {
			t.chunks = append(t.chunks, new([chunkSize]conn))
		}
	} else {
		r = t.unused()
		forget(r)
		c := t.at(r)
		t.byTuple.remove(&c.tuple, r)
		t.setSNAT(r, Addr{})
	}
	*t.at(r) = conn{tuple: *tuple, flags: used}
	_, place := t.byTuple.find(tuple)
	t.byTuple.places[place] = r
	return r
}

// unused moves the hand to the next connection that was not heard of since it
// passed last.
func (t *table) unused() ref {
	for {
		t.hand = t.hand%t.live + 1
		c := t.at(t.hand)
		if c.flags&used == 0 {
			return t.hand
		}
		c.flags &^= used
	}
}

// setSNAT notes the connection's translated address; the zero Addr forgets it.
// Another connection that had the same reply key keeps its address but is no
// longer found by it: the server's packets reach the new owner.
// The host's own are not found by it at all: the host answers for any port.
func (t *table) setSNAT(r ref, snat Addr) {
	c := t.at(r)
	c.flags &^= guessed
	if c.flags&host != 0 {
		c.snat = snat
		return
	}
	if !c.snat.IsZero() && c.snat != snat {
		key := c.replyKey()
		t.byReply.remove(&key, r)
	}
	c.snat = snat
	if !snat.IsZero() {
		key := c.replyKey()
		_, place := t.byReply.find(&key)
		t.byReply.places[place] = r
	}
}
