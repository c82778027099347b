// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	datapath "github.com/renat-project/renat/bpf/lab"
)

const (
	// The long-lived connections' source ports lie below those that Linux gives
	// out, each used by one connection or by one that is opened again.
	firstPort = 20000
	lastPort  = 32767
	maxLong   = 2000

	churners   = 16 // short connections at a time
	abortEvery = 7  // of the short connections, one in so many resets
	hotPause   = 300 * time.Millisecond
	// abortWait is how long a reset may take through the datapath. Met by a
	// deleted entry it would get another port itself.
	abortWait = 50 * time.Millisecond
	// unshown is for how long nothing may have been shown of a server for its silence
	// to tell: 6.5 s (docs/rules.md), and what Hubble may be late.
	unshown = 8 * time.Second
)

// traffic is what pods do.
type traffic struct {
	cfg      Config
	plan     plan
	net      *network
	datapath *datapath.Datapath
	account  *account
	witness  *witness
	servers  *servers
	late     func() bool // Hubble is behind: no more load
	nextID   atomic.Uint64
	nextPort atomic.Uint32

	moved bool         // pods leave from the other address; of the goroutine that runs plan.together
	busy  sync.RWMutex // read-locked while a short connection is used

	mu   sync.Mutex // guards open
	open map[*client]struct{}
}

// hangUp ends all connections: the run is broken off.
func (t *traffic) hangUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		c.conn.Close()
	}
}

func (t *traffic) podOf(c Class) int { return slices.Index(classes, c) }

// runLong keeps the long-lived connections until ctx ends, and then has each
// client try once more: what broke unnoticed is noticed.
func (t *traffic) runLong(ctx context.Context) {
	t.nextPort.Store(firstPort)
	var all sync.WaitGroup
	together := map[Class]int{}
	for i := range t.cfg.Connections {
		class, lot := t.plan.mix[i%len(t.plan.mix)], t.lot(i)
		if slices.Contains(t.plan.joined, class) {
			together[class]++
			continue
		}
		all.Go(func() {
			for ctx.Err() == nil && t.nextPort.Load() < lastPort {
				if class == Reuse || class == ReuseNewPort {
					t.reuse(ctx, class, lot)
				} else {
					t.keep(ctx, class, lot)
				}
			}
		})
	}
	if t.plan.together != nil {
		lot := t.lot(t.cfg.Connections)
		all.Go(func() {
			for ctx.Err() == nil && t.nextPort.Load() < lastPort {
				t.plan.together(t, ctx, together, lot)
			}
		})
	}
	all.Wait()
}

// lot draws for the n-th of those who draw.
func (t *traffic) lot(n int) *rand.Rand { return rand.New(rand.NewPCG(t.cfg.Seed, uint64(n))) }

// keep uses one connection until it breaks or ctx ends.
func (t *traffic) keep(ctx context.Context, class Class, lot *rand.Rand) {
	c, ok := t.start(ctx, class, uint16(t.nextPort.Add(1)), serverOf(class))
	if !ok {
		return
	}
	defer c.close()
	for round := 1; ; round++ {
		t.silence(ctx, class, lot)
		err := t.round(ctx, class, c)
		if err == nil && ctx.Err() != nil {
			err = c.remains()
		}
		t.account.probed(c.key, class, round, err)
		if err != nil || ctx.Err() != nil {
			return
		}
	}
}

// serverOf is the server's port that connections of a class that lives long go to.
func serverOf(class Class) uint16 {
	switch class {
	case Push, GCPush, Untracked, Waiting, Healed:
		return portPush
	case Crowd:
		return portScarce
	case Unanswered, Unreset:
		return portFiltered
	}
	return portLong
}

// start opens a connection and uses it a first time.
func (t *traffic) start(ctx context.Context, class Class, port, to uint16) (*client, bool) {
	c, err := t.connect(class, port, to)
	if err != nil {
		t.cfg.Log.Debug().Err(err).Str("class", string(class)).Msg("a connection cannot be opened")
		t.account.couldNotOpen(t.key(class, port, to), class)
		sleep(ctx, hotPause)
		return nil, false
	}
	err = c.exchange()
	t.account.probed(c.key, class, 0, err)
	if err != nil {
		c.close()
	}
	return c, err == nil
}

// round is one use of a connection after the silence of its class.
func (t *traffic) round(ctx context.Context, class Class, c *client) error {
	switch class {
	case Push:
		return c.pushed()
	case Waiting:
		return c.waits()
	case Own:
		if ctx.Err() != nil { // it may have lost one entry only
			return c.exchange()
		}
		if rival, ok := t.start(ctx, Churn, c.client.Port(), portLong); ok {
			defer rival.close()
		}
	case Unanswered, Unreset:
		if ctx.Err() != nil { // it was not silent for long enough
			return c.exchange()
		}
		if class == Unanswered {
			t.deleteOut(c.key)
			return c.exchange()
		}
		t.deleteBoth(c.key)
		return c.pushed()
	case Untracked, Healed:
		// Its last packet must be gone, lest it make the entry again.
		if err := c.remains(); err != nil || ctx.Err() != nil {
			return err
		}
		t.deleteTracking(c.key)
		if class == Untracked {
			return c.waits()
		}
		return c.pushed()
	case GC, GCPush:
		// Both entries must be there for one to be deleted.
		if err := c.exchange(); err != nil || ctx.Err() != nil {
			return err
		}
		t.deleteOut(c.key)
	}
	if class == GCPush {
		return c.pushed()
	}
	return c.exchange()
}

// deleteOut does to a connection what an agent's garbage collector does.
func (t *traffic) deleteOut(k key) { t.deletes(t.witness.deleted, k, t.datapath.DeleteOut) }

// deleteBoth does it to both entries.
func (t *traffic) deleteBoth(k key) { t.deletes(t.witness.deleted, k, t.datapath.DeleteMapping) }

// deleteTracking does it to a connection's tracking entry.
func (t *traffic) deleteTracking(k key) {
	t.deletes(t.witness.untracked, k, t.datapath.DeleteTracking)
}

func (t *traffic) deletes(at map[key]uint64, k key, del func(pod, server netip.AddrPort) (existed bool, err error)) {
	if err := t.witness.deletes(at, k, del); err != nil {
		t.cfg.Log.Warn().Err(err).Stringer("client", k.client).Msg("a connection keeps an entry")
	}
}

// reuse opens a connection, aborts it and opens it again from the same port.
func (t *traffic) reuse(ctx context.Context, class Class, lot *rand.Rand) {
	port := uint16(t.nextPort.Add(1))
	c, ok := t.start(ctx, class, port, portShort)
	if !ok {
		return
	}
	c.abort()
	if class == ReuseNewPort {
		sleep(ctx, abortWait)
		t.deleteOut(c.key)
	} else {
		t.churnBy(ctx, lot, 0.6, 0.7)
	}
	if c, ok = t.start(ctx, class, port, portShort); ok {
		c.close()
	}
	t.churnBy(ctx, lot, 0.05, 0.2)
}

// silence waits as long as the class is silent. Its measure is the map's
// turnover, not time: slow machines churn slowly.
func (t *traffic) silence(ctx context.Context, class Class, lot *rand.Rand) {
	switch class {
	case Hot:
		sleep(ctx, hotPause)
	case Unanswered, Unreset:
		sleep(ctx, unshown)
	case Own:
		t.churnBy(ctx, lot, 0.9, 1) // both its entries are gone
	case GC, GCPush:
		t.churnBy(ctx, lot, 0.05, 0.15)
	case Untracked, Healed:
		t.churnByTracked(ctx, lot, 0.1, 0.3)
	case Waiting:
		t.churnByTracked(ctx, lot, 1, 2)
	case Push:
		t.churnBy(ctx, lot, 0.1, 0.6)
	default:
		t.churnBy(ctx, lot, 0.05, 0.6)
	}
}

// churnBy waits until there were so many short connections, in sizes of the map.
// Each has two entries, and an entry that is not used is evicted after a
// quarter to a half as many as fit into the map, so 0.6 is more than any lives.
func (t *traffic) churnBy(ctx context.Context, lot *rand.Rand, least, most float64) {
	t.churnOf(ctx, lot, least, most, t.cfg.MapSize)
}

// churnByTracked waits likewise, in sizes of the connection tracking map, in which
// each has one entry: one that is not used is gone after twice as many as fit.
func (t *traffic) churnByTracked(ctx context.Context, lot *rand.Rand, least, most float64) {
	t.churnOf(ctx, lot, least, most, t.plan.ctSize)
}

func (t *traffic) churnOf(ctx context.Context, lot *rand.Rand, least, most float64, size int) {
	n := int((least + lot.Float64()*(most-least)) * float64(size))
	for end := t.account.churnedSoFar() + n; t.account.churnedSoFar() < end && ctx.Err() == nil; {
		sleep(ctx, 50*time.Millisecond)
	}
}

// runChurn makes short connections until ctx ends, at the rate of limit.
func (t *traffic) runChurn(ctx context.Context, limit *rate.Limiter) {
	var all sync.WaitGroup
	for range churners {
		all.Go(func() {
			for limit.Wait(ctx) == nil {
				if !t.late() {
					t.short(ctx)
				}
			}
		})
	}
	all.Wait()
}

func (t *traffic) short(ctx context.Context) {
	t.busy.RLock()
	defer t.busy.RUnlock()
	c, ok := t.start(ctx, Churn, 0, portShort)
	if !ok {
		return
	}
	if c.id%abortEvery == 0 {
		c.abort()
	} else {
		c.close()
	}
	t.account.churn()
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
