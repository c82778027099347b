// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/recording"
)

// truth is what the clients of a recording saw.
type truth struct {
	broken map[string]bool   // by "client server"
	class  map[string]string // of each
}

func readTruth(t *testing.T, dir string) truth {
	t.Helper()
	tr := truth{broken: map[string]bool{}, class: map[string]string{}}
	for _, line := range readLines(t, filepath.Join(dir, "truth.jsonl")) {
		var l struct {
			Class, Client, Server string
			Broken                bool
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		key := l.Client + " " + l.Server
		tr.class[key] = l.Class
		tr.broken[key] = tr.broken[key] || l.Broken
	}
	return tr
}

// score returns how many broken connections there are, how many of them the
// incidents name, and how many incidents name another or one a second time.
func (tr truth) score(incidents []*incident.Incident) (broken, hit, wrong int) {
	for _, b := range tr.broken {
		if b {
			broken++
		}
	}
	seen := map[string]bool{}
	for _, i := range incidents {
		key := connection(i)
		if !tr.broken[key] || seen[key] {
			wrong++
			continue
		}
		seen[key] = true
		hit++
	}
	return broken, hit, wrong
}

func connection(i *incident.Incident) string {
	return i.Source.AddrPort().String() + " " + i.Destination.AddrPort().String()
}

// TestReplayNamesEveryBrokenConnection compares with what the clients saw:
// each broken connection has one incident with the cause of its last removal,
// and nothing else has one, reused ports and aborted connections included.
func TestReplayNamesEveryBrokenConnection(t *testing.T) {
	for _, dir := range recordings {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			tr := readTruth(t, dir)
			incidents := renat(t, "replay", dir, "-o", "json").must(t).incidents(t)
			if broken, hit, wrong := tr.score(incidents); hit != broken || wrong != 0 {
				t.Errorf("%d of %d broken connections named, %d incidents wrong", hit, broken, wrong)
			}
			removals := lastRemovals(t, dir)
			for _, i := range incidents {
				if want := removals.before(i); i.Cause != want {
					t.Errorf("%s: cause %s, its last removal says %s", connection(i), i.Cause, want)
				}
				if i.Outcome != incident.Reset || i.Source.Pod == "" || i.NAT.Before == "" || i.Map.MaxEntries == 0 {
					t.Errorf("%s: incomplete: %+v", connection(i), i)
				}
			}
		})
	}
}

// operation is a line of nat.jsonl as this test needs it.
type operation struct {
	Time, Op, Map, Dir, Src, Dst, To string
	Errno                            int
}

// history is the operations on each entry, in order, by direction and key.
type history map[string][]operation

func lastRemovals(t *testing.T, dir string) history {
	t.Helper()
	h := history{}
	for _, line := range readLines(t, filepath.Join(dir, recording.NATFile+".gz")) {
		var o operation
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		if o.Errno == 0 && o.Map == "cilium_snat_v4_external" {
			key := o.Dir + o.Src + o.Dst
			h[key] = append(h[key], o)
		}
	}
	return h
}

// before returns the cause of the last removal, before the incident, of the
// entry that the kind of incident is about.
func (h history) before(i *incident.Incident) (cause incident.Cause) {
	key := "OUT" + i.Source.AddrPort().String() + i.Destination.AddrPort().String()
	if i.Kind == incident.OrphanedReply {
		key = "IN" + i.Destination.AddrPort().String() + i.NAT.Before
	}
	at := i.Time.Format("2006-01-02T15:04:05.000000000Z")
	present := true
	for _, o := range h[key] {
		switch {
		case o.Time >= at:
			return cause
		case o.Op == "evict":
			cause, present = incident.LRUEviction, false
		case o.Op == "delete" && present:
			cause, present = incident.UserspaceDelete, false
		case o.Op == "insert":
			present = true
		}
	}
	return cause
}

// TestReplayWithoutSomeFlows removes flows at random: the kernel's events are
// complete, so that nearly every broken connection is still named, and each
// incident says that flows are missing.
func TestReplayWithoutSomeFlows(t *testing.T) {
	for _, dir := range recordings {
		tr := readTruth(t, dir)
		for _, share := range []float64{0.3, 1} {
			var broken, hit, wrong int
			const runs = 5
			for seed := range uint64(runs) {
				rng := rand.New(rand.NewPCG(seed, 1))
				lossy := variant(t, dir, func(name string, lines []string) []string {
					if name == recording.FlowsFile {
						lines = slices.DeleteFunc(lines, func(string) bool { return rng.Float64() < share })
					}
					return lines
				})
				incidents := renat(t, "replay", lossy, "-o", "json").must(t).incidents(t)
				b, h, w := tr.score(incidents)
				broken, hit, wrong = broken+b, hit+h, wrong+w
				for _, i := range incidents {
					if share < 1 && i.Loss.HubbleUnseen == 0 {
						t.Errorf("%s: the incident does not say that flows are missing: %+v", connection(i), i.Loss)
					}
					if share == 1 && (i.Outcome != incident.Unconfirmed || i.Source.Pod != "") {
						t.Errorf("%s: claims what only flows can tell", connection(i))
					}
				}
			}
			recall, precision := float64(hit)/float64(broken), float64(hit)/float64(hit+wrong)
			t.Logf("%s without %.0f %% of its flows: recall %.3f, precision %.3f over %d runs", filepath.Base(dir), 100*share, recall, precision, runs)
			if recall < 0.98 || precision < 0.93 {
				t.Errorf("recall must be 0.98 and precision 0.93")
			}
		}
	}
}
