// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestBurstsLeaveNoRoom: once a minute a collector deletes 50,000 entries in a
// tenth of a second, while 5,000 events wait for their turn. Each array once took
// such a burst; all of them together have room for little more than may be held.
func TestBurstsLeaveNoRoom(t *testing.T) {
	const limit = 1 << 17
	r := newReorder(20*time.Millisecond, 5*time.Second, limit, func([]Event) {})
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	at := int64(1e15)
	released := 0
	release := func(*Event) { released++ }
	sent := 0
	send := func(when int64) {
		r.shrink(release)
		if !r.add(&Event{Time: when, Kind: KindNAT}) {
			t.Fatal("an event came too late")
		}
		sent++
	}
	worst := 0
	r.hear(at)
	for range 60 {
		burst := rng.IntN(9000)
		for ms := range 10_000 {
			send(at)
			if ms >= burst && ms < burst+100 {
				for range 500 {
					send(at + rng.Int64N(1e6))
				}
			}
			at += 1e6
			r.advance(at, release)
			worst = max(worst, r.room)
		}
	}
	if worst > 3*limit {
		t.Errorf("arrays have room for %d events, %d may be held", worst, limit)
	}
	room := 0
	for _, b := range r.buckets {
		room += cap(b.events)
	}
	for _, s := range r.spare {
		room += cap(s)
	}
	if room != r.room || sent-released != r.size {
		t.Errorf("room %d, counted %d; sent %d, released %d, held %d", room, r.room, sent, released, r.size)
	}
}
