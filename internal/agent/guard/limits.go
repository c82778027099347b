// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/kprobes"
)

const (
	// most is how many connections are guarded at most, whatever the maps' size.
	most = 1 << 16
	// backoffMin is the least that is left of a limit.
	backoffMin = 1.0 / 64
	// recovery is how long nothing may be lost before more are guarded again.
	recovery = time.Minute
	// tolerated is one of how many guarded entries may be evicted in use without
	// a consequence: where nothing else is left in 128 in a row, as the kernel
	// looks at them, it takes one, though there may be others behind.
	tolerated = 64
	// youngTolerated is one of how many evicted entries may be younger than the
	// time between two runs. The kernel evicts none of these, unless so many
	// entries are in use that it finds no others where it looks: then those of
	// connections that are being opened go first.
	youngTolerated = 100
	// youngPause is how many runs, of which eight fill the map, it takes to see
	// whether that gets better.
	youngPause = 16
	// oneWorkload is the part of a limit that one workload may have.
	oneWorkload = 4
)

// limits are how many connections may be guarded.
type limits struct {
	maps    [2]int // by the maps' size: IPv4, IPv6
	usable  [2]uint64
	evicted [2]uint64 // entries of the NAT map, since it is watched
	slow    int       // by the CPU time that a run takes; 0: as many as there are
	backoff float64   // what is left of maps, up to 1
	since   time.Time // of the last change of backoff
	lost    int       // what made it smaller last: entries that were guarded
	isYoung bool      // or, instead, those of connections being opened
	aged    int       // evicted entries whose age is known, since the last run
	young   int       // of these, younger than the time between two runs
	wait    int       // runs until more of these make it smaller again
	wanted  int       // connections there were to guard, in the last run
}

// version is the index of an IP version.
func version(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// of is how many connections of one IP version may be guarded.
func (l *limits) of(v int) int {
	n := float64(l.maps[v]) * l.backoff
	if all := float64(l.maps[0]+l.maps[1]) * l.backoff; l.slow > 0 && all > float64(l.slow) {
		n *= float64(l.slow) / all
	}
	if n > 0 && n < 1 {
		return 1
	}
	return int(n)
}

func (l *limits) total() int { return l.of(0) + l.of(1) }

// learn takes the maps' sizes and evictions.
func (g *Guard) learn(updates []kprobes.Updates) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room, isNAT := [2]int{most, most}, [2]bool{}
	for _, u := range updates {
		m, v := u.Map, version(u.Map.IPv6())
		if m.PerCluster() {
			continue
		}
		usable := sizing.Usable(int(m.MaxEntries), g.cpus, m.Distributed)
		n := int(g.config.Share * float64(usable))
		if !m.CT {
			n /= 2 // entries of a connection
			isNAT[v], g.limits.usable[v], g.limits.evicted[v] = true, uint64(usable), u.Evictions
		}
		room[v] = min(room[v], n)
	}
	for v := range room {
		if !isNAT[v] {
			room[v] = 0
		}
	}
	g.limits.maps = room
}

// noteAge counts an evicted entry.
func (l *limits) noteAge(young bool) {
	l.aged++
	if young {
		l.young++
	}
}

// react guards fewer when entries that were looked up were evicted all the same,
// or those of connections that are being opened were; more again when none was
// for a while.
func (l *limits) react(forced, kept int, now time.Time) {
	young := l.young > l.aged/youngTolerated
	l.aged, l.young, l.wait = 0, 0, max(l.wait-1, 0)
	switch {
	case forced > kept/tolerated:
		l.backoff, l.since, l.lost, l.isYoung = max(l.backoff/2, backoffMin), now, forced, false
	case young && kept > 0:
		l.since = now
		if l.wait == 0 {
			l.backoff, l.wait, l.isYoung = max(l.backoff/2, backoffMin), youngPause, true
		}
	case l.backoff < 1 && now.Sub(l.since) >= recovery:
		l.backoff, l.since = min(l.backoff*1.25, 1), now
	}
}

// afford adapts how many connections are looked up in a run to what one may
// cost: used is the part of it that the last one, of so many, took.
func (l *limits) afford(asked int, used float64) {
	switch {
	case used > 1:
		l.slow = max(1, int(float64(asked)/min(used, 2)))
	case l.slow > 0 && l.slow < l.wanted:
		l.slow = int(float64(l.slow)/max(used, 0.5)) + 1
	default:
		l.slow = 0
	}
}

// problem says why fewer are guarded than the share allows; "" if not.
func (l *limits) problem(cpu float64) string {
	allowed := l.maps[0] + l.maps[1]
	switch {
	case l.backoff < 1 && l.isYoung:
		return fmt.Sprintf("%s: the kernel evicts entries of connections that are just being opened, so at most %d connections are guarded instead of %d",
			nodestatus.GuardTooSmall, l.total(), allowed)
	case l.backoff < 1:
		return fmt.Sprintf("%s: the kernel evicted %d entries although they were guarded, so at most %d connections are guarded instead of %d",
			nodestatus.GuardTooSmall, l.lost, l.total(), allowed)
	case l.slow > 0 && l.slow < min(allowed, l.wanted):
		return fmt.Sprintf("%g of a core is enough for %d of %d connections", cpu, l.slow, min(allowed, l.wanted))
	}
	return ""
}
