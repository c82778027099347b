// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"math/rand/v2"
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
	minLong   = 7 // one of each class
	maxLong   = 2000

	churners   = 16 // short connections at a time
	abortEvery = 7  // of the short connections, one in so many resets
	hotPause   = 300 * time.Millisecond
	// abortWait is how long a reset may take through the datapath. Met by a
	// deleted entry it would get another port itself.
	abortWait = 50 * time.Millisecond
)

// mix is which classes the long-lived connections have, over and over.
var mix = []Class{
	Idle, Push, Hot, GC, GCPush, Reuse, ReuseNewPort, Idle, Push, GC,
	Hot, Push, Idle, GCPush, Reuse, ReuseNewPort, Idle, Push, GC, Idle,
}

// traffic is what pods do.
type traffic struct {
	cfg      Config
	net      *network
	datapath *datapath.Datapath
	account  *account
	witness  *witness
	servers  *servers
	late     func() bool // Hubble is behind: no more load
	nextID   atomic.Uint64
	nextPort atomic.Uint32

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
	for i := range t.cfg.Connections {
		class, lot := mix[i%len(mix)], rand.New(rand.NewPCG(t.cfg.Seed, uint64(i)))
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
	all.Wait()
}

// keep uses one connection until it breaks or ctx ends.
func (t *traffic) keep(ctx context.Context, class Class, lot *rand.Rand) {
	to := uint16(portLong)
	if class == Push || class == GCPush {
		to = portPush
	}
	c, ok := t.start(ctx, class, uint16(t.nextPort.Add(1)), to)
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

// start opens a connection and uses it a first time.
func (t *traffic) start(ctx context.Context, class Class, port, to uint16) (*client, bool) {
	c, err := t.connect(class, port, to)
	if err != nil {
		if ctx.Err() == nil {
			t.cfg.Log.Debug().Err(err).Str("class", string(class)).Msg("a connection cannot be opened")
			t.account.couldNotOpen()
			sleep(ctx, hotPause)
		}
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
		return c.pushed(t.servers)
	case GC, GCPush:
		// Both entries must be there for one to be deleted.
		if err := c.exchange(); err != nil || ctx.Err() != nil {
			return err
		}
		t.deleteOut(c.key)
	}
	if class == GCPush {
		return c.pushed(t.servers)
	}
	return c.exchange()
}

// deleteOut does to a connection what an agent's garbage collector does.
func (t *traffic) deleteOut(k key) {
	err := t.witness.deleteOut(k, func() (bool, error) { return t.datapath.DeleteOut(k.client, k.server) })
	if err != nil {
		t.cfg.Log.Warn().Err(err).Msg("a connection keeps its entry")
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
	case GC, GCPush:
		t.churnBy(ctx, lot, 0.05, 0.15)
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
	n := int((least + lot.Float64()*(most-least)) * float64(t.cfg.MapSize))
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
