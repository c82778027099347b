// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
)

// noticed is more than the agent takes to notice that a map was replaced. What breaks
// before, it misses.
const noticed = 3 * time.Second

// replace opens connections, has the NAT map made anew with twice the size, has the
// servers of some speak and the clients of the others, and then waits for ctx: it
// happens once.
func (t *traffic) replace(ctx context.Context, n map[Class]int, _ *rand.Rand) {
	open := t.startAll(ctx, Replaced, t.ports(n[Replaced]), portPush)
	kept := t.startAll(ctx, Kept, t.ports(n[Kept]), portLong)
	sleep(ctx, settled)
	t.busy.Lock() // what is under way breaks, before anybody notices
	err := t.witness.replaces(func() error {
		return t.net.node.do(func() error { return t.datapath.ReplaceNAT(uint32(t.cfg.newSize())) })
	})
	t.busy.Unlock()
	if err != nil {
		t.cfg.Log.Warn().Err(err).Msg("the NAT map is as it was")
	}
	sleep(ctx, noticed)
	if ctx.Err() == nil {
		t.useAll(open, (*client).pushed)
		t.useAll(kept, (*client).exchange)
	}
	for _, c := range append(open, kept...) {
		c.close()
	}
	<-ctx.Done()
}

// newSize is that of the map which replaces the first.
func (c Config) newSize() int { return 2 * c.MapSize }

// replacement is what one incident of map_replaced is to tell.
type replacement struct {
	before, after uint32 // sizes
	broken        map[Class]int
	told          bool // it does
	alone         int  // connections with an incident of their own
}

// judgeReplacement finds the connections that broke because their map was replaced,
// and scores the incidents that say so of all; it returns the others.
func (s *score) judgeReplacement(a *account, c Config, stored []jetstream.Stored) (others []jetstream.Stored) {
	r := &replacement{before: uint32(c.MapSize), after: uint32(c.newSize()), broken: map[Class]int{}}
	for _, cn := range a.connections {
		if cn.byReplacement() {
			r.broken[cn.class]++
		}
	}
	for _, i := range stored {
		switch {
		case i.Incident.Kind != incident.MapReplacement:
			others = append(others, i)
		case !r.told && r.is(i.Incident):
			r.told = true
		default:
			s.rows[Churn].False++
			s.fault("%v connections broke because their map was replaced; an incident says %+v", r.broken, *i.Incident.Replaced)
		}
	}
	s.replaced = r
	return others
}

// byReplacement reports whether the connection broke because its map was replaced.
func (c *connection) byReplacement() bool {
	return c.broken != nil && slices.ContainsFunc(c.failures, func(f failure) bool { return f.cause == incident.MapReplaced })
}

// is reports whether an incident tells of it, rightly in all. A size is not known of
// a map that no event of told.
func (r *replacement) is(i *incident.Incident) bool {
	all, got := 0, i.Replaced
	for class, n := range r.broken {
		all += n
		if !slices.Contains(got.Pods, incident.PodCount{Name: namespace + "/" + podName(class), Count: uint64(n)}) {
			return false
		}
	}
	return i.Cause == incident.MapReplaced && i.Outcome == incident.Reset && got.Broken == uint64(all) && got.Reset == uint64(all) &&
		len(got.Pods) == len(r.broken) && (i.Map.MaxEntries == 0 || i.Map.MaxEntries == r.after) &&
		(got.MaxEntriesBefore == 0 || got.MaxEntriesBefore == r.before)
}
