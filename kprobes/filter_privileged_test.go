// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

const (
	filterOps = 400_000
	// filterWindow expires many times over in the tens of seconds that the test
	// takes.
	filterWindow = 2 * time.Second
	// tickLag is how far the filter's ticks and CLOCK_MONOTONIC_COARSE, which the
	// same interrupt moves on, may differ.
	tickLag = 50 * time.Millisecond
	// filterConnections and filterEntries make about every second insert new
	// and keep a map that always overflows.
	filterConnections = 60_000
	filterEntries     = 8192
)

// TestPrivilegedFilter does a million random operations with everything sent.
// Each insert says whether the filter would have sent it; a model that
// remembers every removal says whether it had to.
func TestPrivilegedFilter(t *testing.T) {
	bpffs := newBPFFS(t)
	name, l := "cilium_snat_v4_external", nat4
	m := newMap(t, bpffs, name, l, filterEntries)
	// Cells for a tenth of the needed precision, so that needless inserts show.
	tracer, err := New(Config{Everything: true, BPFFS: bpffs, RingBytes: 1 << 20, FilterBytes: 1 << 20, filterWindow: filterWindow})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	if err := tracer.look(0, func(correlator.Event) {}); err != nil {
		t.Fatal(err)
	}
	u := newUser(t, m, l)
	random := rand.New(rand.NewPCG(1, 2))
	model := filterModel{t: t, removed: map[pair]filterRemoval{}, codec: l.codec()}
	ops := make([]opsOp, 512)
	for done := 0; done < filterOps; done += len(ops) {
		for i := range ops {
			ops[i] = randomOp(random, l)
		}
		model.began = ticks(t)
		u.do(t, ops...)
		model.ended = ticks(t)
		model.read(tracer.ring)
	}
	stats, err := tracer.Stats()
	if err != nil {
		t.Fatal(err)
	}
	c := stats.Maps[0].Counters
	if c.Dropped != 0 || stats.Missed != 0 || model.events != c.Sent {
		t.Errorf("dropped %d, missed %d, sent %d, received %d", c.Dropped, stats.Missed, c.Sent, model.events)
	}
	if model.needed == 0 || model.needed == model.inserts || model.expired == 0 {
		t.Errorf("the test tests nothing: %+v", model)
	}
	t.Logf("%d operations, %d evictions: of %d inserts %d follow a removal inside %s, %d do not; lost 0, needless %d (%.2f %%)",
		filterOps, c.Evictions, model.inserts, model.needed, filterWindow, model.inserts-model.needed,
		model.needless, 100*float64(model.needless)/float64(model.inserts-model.needed))
}

// randomOp inserts either entry of a random connection, seldom in another SNAT
// port than last time, or deletes it.
func randomOp(r *rand.Rand, l layout) opsOp {
	n := r.IntN(filterConnections)
	e := l.out(uint16(n), uint16(n/2+r.IntN(2)))
	e.tuple.Dst = l.addr(byte(100+n%7), 443)
	if r.IntN(2) == 0 {
		out := e
		e = entry{correlator.Tuple{Src: out.tuple.Dst, Dst: out.to, Protocol: correlator.TCP}, correlator.In, out.tuple.Src}
	}
	if r.IntN(4) == 0 {
		return l.op(doDelete, e, 0)
	}
	return l.op(doUpdate, e, uint32(r.IntN(2)))
}

// pair is what the filter remembers: a local address and a server.
type pair struct{ local, server correlator.Addr }

// ticks is the time by the kernel's ticks. On a busy host an emulated machine's
// come late by any time.
func ticks(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// filterRemoval is between when and when an entry was removed.
type filterRemoval struct{ after, before time.Duration }

type filterModel struct {
	t     *testing.T
	codec *cilium
	// When the operations that are read began and ended.
	began, ended time.Duration
	removed      map[pair]filterRemoval
	events       uint64
	inserts      int
	needed       int
	needless     int
	expired      int // inserts whose removal was too long ago
}

// read takes what is in the ring buffer.
func (f *filterModel) read(ring *ringbuf.Reader) {
	f.t.Helper()
	ring.SetDeadline(time.Now())
	var record ringbuf.Record
	for {
		err := ring.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			f.t.Fatal(err)
		}
		var e watchEvent
		if err := parse(record.RawSample, &e); err != nil {
			f.t.Fatal(err)
		}
		f.see(&e)
	}
}

func (f *filterModel) see(e *watchEvent) {
	f.events++
	tuple, dir := f.codec.tuple(e.Key[:])
	local, server := tuple.Src, tuple.Dst
	if dir == correlator.In {
		local, server = server, local
	}
	pairs := [2]pair{{local, server}, {f.codec.addr(e.To[:]), server}}
	if e.Op != uint8(watchEventOpOP_INSERT) {
		if e.Error == 0 {
			removal := filterRemoval{f.began, f.ended}
			f.removed[pairs[0]], f.removed[pairs[1]] = removal, removal
		}
		return
	}
	f.inserts++
	needed, late := false, false
	for _, p := range pairs {
		if at, ok := f.removed[p]; ok {
			needed = needed || f.ended-at.after <= filterWindow-tickLag
			late = late || f.began-at.before > filterWindow+tickLag
		}
	}
	wanted := e.Flags&uint8(watchEventFlagEVENT_WANTED) != 0
	switch {
	case needed && !wanted:
		f.t.Fatalf("the filter lost %v %v -> %v", tuple, dir, f.codec.addr(e.To[:]))
	case needed:
		f.needed++
	case wanted:
		f.needless++
	case late:
		f.expired++
	}
}
