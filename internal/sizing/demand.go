// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"fmt"
	"math"
	"time"
)

const (
	// headroom is what is added to the measured demand.
	headroom = 0.2
	// collectAt is the share of a CT map that may have expired before Cilium's
	// collector, left to adapt its interval, shortens it (pkg/maps/ctmap/gc).
	collectAt = 0.25
	// keptAside is how many free entries a CPU takes at once from a common LRU
	// (kernel/bpf/bpf_lru_list.c: LOCAL_FREE_TARGET); less for tiny maps.
	keptAside = 128
	// spread is how many standard deviations the busiest CPU's share of
	// connections lies above the mean.
	spread = 5
)

// Measured is what one NAT map of a node had to bear. Zero means unknown,
// except for Evicting.
type Measured struct {
	Live    float64 // entries of open connections, at most
	Peak    float64 // entries at once, at most
	Inserts float64 // per second, at most
	// Evicting says that entries were evicted: Peak is then the map's limit,
	// not what was needed.
	Evicting bool
	// Gap is the longest time a connection was silent before it was found broken.
	Gap time.Duration
}

// demand is what has to fit into a map.
type demand struct {
	entries float64
	live    float64
	inserts float64
	steps   []string // the arithmetic
	guessed string   // what was not measured, in words; "" if nothing
}

// demandOf adds up what a map must hold: what it held, if it evicted nothing,
// else what is open and what is not collected yet.
func (s Settings) demandOf(m Measured, current int, z Sizes) demand {
	d := demand{live: m.Live, inserts: m.Inserts}
	if !m.Evicting && m.Peak > 0 {
		d.entries = m.Peak
		d.step("%.0f entries at once were measured, and nothing was evicted", m.Peak)
		return d
	}
	if d.live == 0 {
		d.live = float64(current)
		d.guessed = "how many connections are open is not known"
		d.step("%.0f entries of open connections: not measured, taken as the whole map", d.live)
	} else {
		d.step("%.0f entries of open connections", d.live)
	}
	d.entries = d.live + s.dead(&d, m.Inserts, z)
	d.step("%.0f entries in all", d.entries)
	return d
}

// dead is how many entries of closed connections pile up between collections.
func (s Settings) dead(d *demand, inserts float64, z Sizes) float64 {
	longest := s.gcMax() + s.timeout()
	byTime := inserts * longest.Seconds()
	if s.GCInterval > 0 {
		d.step("%.0f of closed ones: %.1f inserts/s for %v (%v after closing, collected every %v)",
			byTime, inserts, longest, s.timeout(), s.GCInterval)
		return byTime
	}
	// Two NAT entries for each CT entry, and those which expired before the
	// timeout of the last interval.
	bySize := 2*collectAt*float64(z.CTTCP+z.CTAny) + inserts*s.timeout().Seconds()
	if byTime <= bySize {
		d.step("%.0f of closed ones: %.1f inserts/s for %v, the longest that Cilium waits between collections",
			byTime, inserts, longest)
		return byTime
	}
	d.step("%.0f of closed ones: Cilium collects before %.0f %% of its CT maps (%d + %d) have expired, two NAT entries each, and %.1f inserts/s for %v after closing",
		bySize, 100*collectAt, z.CTTCP, z.CTAny, inserts, s.timeout())
	return bySize
}

func (d *demand) step(format string, args ...any) {
	d.steps = append(d.steps, fmt.Sprintf(format, args...))
}

// size returns the entries of a map that holds the demand with headroom.
func (d *demand) size(cpus int, distributed bool) int {
	want := d.entries * (1 + headroom)
	d.step("%.0f with %.0f %% headroom", want, 100*headroom)
	if distributed {
		each := want / float64(cpus)
		each += spread * math.Sqrt(each)
		want = each * float64(cpus)
		d.step("%.0f for a distributed LRU: each of %d CPUs has its share only, and connections do not spread evenly", want, cpus)
	} else {
		want += float64(keptAside * cpus)
		d.step("%.0f with the %d free entries that each of %d CPUs may keep aside", want, keptAside, cpus)
	}
	n := roundUp(want)
	d.step("%d rounded up", n)
	return n
}

// roundUp rounds to a number that a person can say, within Cilium's least.
func roundUp(entries float64) int {
	unit := 1024.0
	for unit*64 < entries {
		unit *= 2
	}
	return max(int(math.Ceil(entries/unit)*unit), minEntries)
}

// outlives is a time that no entry survives unused in a map of so many entries,
// less than the demand; 0 if that is not known. On its way through the lists it
// passes at most three halves of the room that is left beside open connections,
// and what goes on in between collections (package lru's model).
func (d *demand) outlives(entries int, collected time.Duration) time.Duration {
	room := float64(entries) - d.live
	if d.inserts <= 0 || room <= 0 {
		return 0
	}
	return seconds(1.5*room/d.inserts) + collected
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/2e9) * float64(time.Second)).Round(time.Second)
}

// EvictsFrom returns with how many entries a map begins to evict, when its
// connections are spread over the CPUs that badly: a common LRU when all CPUs
// keep aside what they may, a distributed one when the busiest CPU's share is
// full. Of a map so small that CPUs would keep aside more than half of it, newer
// kernels keep aside half; older ones may evict sooner.
func EvictsFrom(entries, cpus int, distributed bool) int {
	cpus = max(cpus, 1)
	if !distributed {
		return entries - min(keptAside*cpus, entries/2)
	}
	// each + spread·√each fills a CPU's share: size in reverse.
	root := (math.Sqrt(spread*spread+4*float64(entries)/float64(cpus)) - spread) / 2
	return int(root * root * float64(cpus))
}
