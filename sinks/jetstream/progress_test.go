// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
)

// all are the sequences of the set, below 100.
func (s Spans) all() (all []uint64) {
	for seq := range uint64(100) {
		if s.Has(seq) {
			all = append(all, seq)
		}
	}
	return all
}

// Spans do what a plain set does.
func TestSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	for range 200 {
		var s Spans
		want := map[uint64]bool{}
		for range 300 {
			seq := uint64(r.IntN(60) + 1)
			switch r.IntN(5) {
			case 0, 1:
				s.insert(seq)
				want[seq] = true
			case 2, 3:
				s.remove(seq)
				delete(want, seq)
			default:
				span := [2]uint64{seq, seq + uint64(r.IntN(4))}
				s = s.without(span)
				for n := span[0]; n <= span[1]; n++ {
					delete(want, n)
				}
			}
			if !apart(s) || int(s.Len()) != len(want) {
				t.Fatalf("%v, want %d", s, len(want))
			}
			below := uint64(r.IntN(70))
			for n := range uint64(70) {
				if s.Has(n) != want[n] || s.before(below).Has(n) != (want[n] && n < below) {
					t.Fatalf("%d: %v, want %v", n, s, want)
				}
			}
		}
	}
}

// apart reports whether the spans are in order, and none touches the next.
func apart(s Spans) bool {
	for n, span := range s {
		if span[0] > span[1] || n > 0 && s[n-1][1]+1 >= span[0] {
			return false
		}
	}
	return true
}

// Two readers, one after the other, and what the stream drops meanwhile.
func TestReading(t *testing.T) {
	ack := func(seq string) string {
		return "$JS.ACK.RENAT_INCIDENTS.renat-hub-ops.1." + seq + ".7.1700000000000000000.0"
	}
	var first reading
	first.resume(Progress{Through: 10})
	for seq := range uint64(10) {
		if first.came(11+seq, true) {
			t.Error("a gap before", 11+seq)
		}
	}
	p := first.settle([]string{ack("11"), ack("15"), ack("16")})
	if want := []uint64{12, 13, 14, 17, 18, 19, 20}; p.Through != 20 || !slices.Equal(p.Open.all(), want) {
		t.Errorf("%+v, want open %v", p, want)
	}
	value, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var second reading
	var stored Progress
	if err := json.Unmarshal(value, &stored); err != nil {
		t.Fatal(err)
	}
	second.resume(stored)
	second.sent(25) // five were sent to the first just before it was killed
	for _, seq := range []uint64{18, 20, 19, 25} {
		second.came(seq, true)
	}
	if got, want := second.lost(18, true).all(), []uint64{12, 13, 14, 17}; !slices.Equal(got, want) {
		t.Errorf("lost %v, want %v", got, want)
	}
	if !second.came(30, true) {
		t.Error("no gap before 30")
	}
	if got, want := second.lost(28, false).all(), []uint64{26, 27}; !slices.Equal(got, want) {
		t.Errorf("lost %v, want %v", got, want)
	}
	second.came(29, true) // it was sent to the first, and comes again
	if got := second.lost(100, true).all(); !slices.Equal(got, []uint64{28}) {
		t.Errorf("lost %v", got)
	}
	if p := second.settle(nil); !slices.Equal(p.Open.all(), []uint64{18, 19, 20, 25, 29, 30}) {
		t.Errorf("open %v", p.Open)
	}
}

// What is too long says too much of the latest.
func TestShorten(t *testing.T) {
	p := Progress{}
	for n := range uint64(8) {
		p.Open.insert(10 * n)
	}
	if !p.Shorten() || !slices.Equal(p.Open, Spans{{0, 0}, {10, 70}}) {
		t.Errorf("%v", p.Open)
	}
	if !p.Shorten() || !slices.Equal(p.Open, Spans{{0, 70}}) || p.Shorten() {
		t.Errorf("%v", p.Open)
	}
}

func TestSequenceOf(t *testing.T) {
	for ack, want := range map[string]uint64{
		"$JS.ACK.RENAT_INCIDENTS.renat-hub-ops.1.42.7.1700000000000000000.0":                    42,
		"$JS.ACK.hub.ACCHASH.RENAT_INCIDENTS.renat-hub-ops.1.42.7.1700000000000000000.0":        42,
		"$JS.ACK.hub.ACCHASH.RENAT_INCIDENTS.renat-hub-ops.1.42.7.1700000000000000000.0.random": 42,
		"": 0, "a.b": 0, "a.b.c.d.e.f": 0,
	} {
		if got := sequenceOf(ack); got != want {
			t.Errorf("%q: %d, want %d", ack, got, want)
		}
	}
}
